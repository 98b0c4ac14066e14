<?php
// Answers one question of the deploy agent about the worker that runs it. The agent alone asks, over FastCGI: no web
// server leads here. It must not change what it looks at, so it never resolves the canonical path by itself: readlink()
// asks the kernel, realpath_cache_get() shows what this worker remembers.

declare(strict_types=1);

$ask = static fn (string $name): string => (string)getenv('SCAP_' . $name);
$has = static fn (string $name): bool => function_exists($name);
$begins = static fn (string $text, string $start): bool => strncmp($text, $start, strlen($start)) === 0; // PHP 7.4 has no other
header('Content-Type: application/json');
if ($ask('SERVED') === '') {
	http_response_code(404);
	exit;
}

$served = $ask('SERVED');
$hops = [$served];
for ($path = $served; count($hops) < 10; $hops[] = $path) {
	$next = @readlink($path);
	if ($next === false) {
		break;
	}
	$path = $begins($next, '/') ? $next : dirname($path) . '/' . $next;
}

// What this worker remembers of paths that lead through the link, and where it believes them to lead.
$releases = $ask('RELEASES') . '/';
$place = static function (string $path) use ($releases, $begins): string {
	return $begins($path, $releases) ? explode('/', substr($path, strlen($releases)), 2)[0] : '';
};
$through = 0;
$believed = [];
$now = time();
foreach ($has('realpath_cache_get') ? realpath_cache_get() : [] as $key => $entry) {
	$key = (string)$key;
	foreach ($hops as $i => $hop) {
		// The last hop is the release itself: a path there goes through no link.
		if ($i < count($hops) - 1 && ($key === $hop || $begins($key, $hop . '/'))) {
			$through++;
			$live = ($entry['expires'] ?? 0) === 0 || $entry['expires'] >= $now;
			$where = $place((string)$entry['realpath'] . '/');
			if ($live && $where !== '') {
				$believed[$where] = ($believed[$where] ?? 0) + 1;
			}
			break;
		}
	}
}

$opcache = null;
$status = $has('opcache_get_status') ? @opcache_get_status($ask('SCRIPTS') !== '') : false;
if (is_array($status) && ($status['opcache_enabled'] ?? false)) {
	$outside = array_filter(explode("\n", $ask('OUTSIDE')), static fn (string $dir): bool => $dir !== '');
	$entries = array_filter(explode("\n", $ask('ENTRIES')), static fn (string $pattern): bool => $pattern !== '');
	$scripts = [];
	$foreign = [];
	$entered = 0;
	foreach ($status['scripts'] ?? [] as $key => $script) {
		$path = (string)($script['full_path'] ?? $key);
		$where = $place($path);
		if ($where !== '') {
			$scripts[$where] = ($scripts[$where] ?? 0) + 1;
			$inside = substr($path, strlen($releases . $where) + 1);
			foreach ($entries as $pattern) {
				if (fnmatch($pattern, $inside, FNM_PATHNAME)) {
					$entered += 1 + (int)($script['hits'] ?? 0); // the first time is a miss
					break;
				}
			}
			continue;
		}
		foreach ($outside as $dir) {
			if ($begins($path, $dir . '/')) {
				continue 2;
			}
		}
		if (count($foreign) < 5) {
			$foreign[] = substr($path, 0, 500);
		}
	}
	$opcache = [
		'start' => (int)($status['opcache_statistics']['start_time'] ?? 0),
		'resets' => (int)($status['opcache_statistics']['manual_restarts'] ?? 0),
		'scripts' => (object)$scripts,
		'foreign' => $foreign,
		'entered' => $entered,
	];
}

$settings = [];
foreach (explode(',', $ask('SETTINGS')) as $name) {
	$value = $name === '' ? false : ini_get($name);
	if ($value !== false) {
		$settings[$name] = substr((string)$value, 0, 500);
	}
}

if ($ask('NONCE') !== '') {
	error_log((string)json_encode(['channel' => 'scap', 'nonce' => $ask('NONCE'), 'release' => $ask('RELEASE')]));
}
if ((int)$ask('HOLD') > 0 && $has('usleep')) {
	usleep(min((int)$ask('HOLD'), 1000000)); // so that other workers answer the other questions
}
echo json_encode([
	'pid' => getmypid(),
	'token' => $ask('TOKEN'),
	'path' => $path,
	'through' => $through,
	'believed' => (object)$believed,
	'opcache' => $opcache,
	'settings' => (object)$settings,
	'extensions' => $ask('SCRIPTS') !== '' ? get_loaded_extensions() : [],
	'ini' => (string)php_ini_loaded_file(),
	'version' => PHP_VERSION,
], JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE);
