package registration

import (
	"crypto/sha256"
	"sync"
)

// source is what a PHP file declares, as reader.php tells it. It is shared and never changed.
type source struct {
	Classes      []*class         `json:"classes"`
	Functions    []string         `json:"functions"`
	ClassAliases []classAlias     `json:"class_aliases"`
	Defines      []string         `json:"defines"` // services that are defined by a call
	Gets         []string         `json:"gets"`    // X of $config->get( 'X' )
	Hases        []string         `json:"hases"`   // X of $config->has( 'X' )
	Tables       map[string]table `json:"tables"`
	Words        []string         `json:"words"` // texts of a file whose table cannot be read
}

// class is a class, interface, trait or enum.
type class struct {
	Name         string                `json:"name"`
	Kind         string                `json:"kind"`
	Abstract     bool                  `json:"abstract"`
	Parent       string                `json:"parent"`
	Interfaces   []string              `json:"interfaces"`
	Traits       []string              `json:"traits"`
	TraitAliases map[string]traitAlias `json:"trait_aliases"` // in lower case
	Methods      map[string]*method    `json:"methods"`       // in lower case
	Consts       map[string]string     `json:"consts"`
}

type traitAlias struct {
	Of         string `json:"of"`
	Visibility string `json:"visibility"`
}

type classAlias struct {
	Of string `json:"of"`
	As string `json:"as"`
}

type method struct {
	Name       string   `json:"name"`
	Visibility string   `json:"visibility"`
	Static     bool     `json:"static"`
	Abstract   bool     `json:"abstract"`
	Required   int      `json:"required"`
	Most       int      `json:"most"` // -1: any number
	Types      []string `json:"types"`
}

// table is an array that is written out in a source.
type table struct {
	Pairs []pair `json:"pairs"`
	Open  bool   `json:"open"` // some of it cannot be read
}

type pair struct {
	Key    string   `json:"key"`
	Const  string   `json:"const"` // A::B in place of a key
	Values []string `json:"values"`
	Gives  string   `json:"gives"` // the type that a closure says it returns
}

// Cache keeps what was read of PHP sources, by what they hold. Any number of checks may share one.
type Cache struct {
	mu sync.Mutex
	by map[[sha256.Size]byte]*source
}

// maxCached bounds a Cache: MediaWiki with 200 extensions has some 30,000 sources, of which a check reads about 3,000 of
// about 5 KB each once read.
const maxCached = 20_000

// NewCache is an empty cache.
func NewCache() *Cache { return &Cache{by: map[[sha256.Size]byte]*source{}} }

func (c *Cache) get(key [sha256.Size]byte) *source {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[key]
}

func (c *Cache) put(key [sha256.Size]byte, s *source) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.by) >= maxCached {
		clear(c.by)
	}
	c.by[key] = s
}
