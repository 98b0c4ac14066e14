package config

import "strings"

// nearest returns the one of known that word was probably meant to be, or "" when none is close: at most a third of the
// letters differ, or the one begins with the other.
func nearest(word string, known []string) string {
	word = strings.ReplaceAll(strings.ToLower(word), "-", "_")
	if len(word) > 64 {
		return ""
	}
	best, least := "", 1<<30
	for _, k := range known {
		d := distance(word, k)
		near := d <= max(1, (max(len(word), len(k))+2)/3)
		if len(word) >= 4 && (strings.HasPrefix(k, word) || strings.HasPrefix(word, k) || strings.HasSuffix(k, "_"+word)) {
			near, d = true, min(d, 2)
		}
		if near && d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, remove, replace or exchange with a neighbour to make b of a.
func distance(a, b string) int {
	var before []int
	last, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 0
			if a[i-1] != b[j-1] {
				differ = 1
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+differ)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
