<?php
// Reads PHP sources and tells what they declare. Nothing is run and no path is opened: sources come over stdin.
//
// A question is: length and bytes of a path, one byte (what is wanted), length and bytes of a source; lengths are four bytes,
// big end first. An answer is a length and JSON. What is wanted: 'd' declarations, 't' declarations and tables (arrays that are
// written out), 'i' the built-in class or function of that name (in the source's place).

function take( int $n ): string {
	$all = '';
	while ( strlen( $all ) < $n ) {
		$part = fread( STDIN, $n - strlen( $all ) );
		if ( $part === false || $part === '' ) {
			exit( $all === '' ? 0 : 3 );
		}
		$all .= $part;
	}
	return $all;
}

function answer( array $a ): void {
	$json = json_encode( $a, JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE );
	fwrite( STDOUT, pack( 'N', strlen( $json ) ) . $json );
	fflush( STDOUT );
}

defined( 'T_ENUM' ) || define( 'T_ENUM', -2 );
defined( 'T_NAME_QUALIFIED' ) || define( 'T_NAME_QUALIFIED', -3 );
defined( 'T_NAME_FULLY_QUALIFIED' ) || define( 'T_NAME_FULLY_QUALIFIED', -4 );
defined( 'T_NAME_RELATIVE' ) || define( 'T_NAME_RELATIVE', -5 );

// Scan is one walk over the tokens of one source.
final class Scan {
	private $id = [];
	private $text = [];
	private $n = 0;
	private $dir;
	private $ns = '';
	private $uses = [];
	private $vars = [];
	private $tables;
	public $out = [ 'classes' => [], 'functions' => [], 'class_aliases' => [], 'defines' => [], 'gets' => [], 'hases' => [], 'tables' => [],
		'words' => [] ];

	private const NAMES = [ T_STRING => 1, T_NS_SEPARATOR => 1, T_NAME_QUALIFIED => 1, T_NAME_FULLY_QUALIFIED => 1, T_NAME_RELATIVE => 1 ];

	// What a walk stops at.
	private const STOPS = [ 0 => 1, T_CURLY_OPEN => 1, T_DOLLAR_OPEN_CURLY_BRACES => 1, T_NAMESPACE => 1, T_USE => 1, T_CLASS => 1,
		T_INTERFACE => 1, T_TRAIT => 1, T_ENUM => 1, T_FUNCTION => 1, T_CONST => 1, T_STRING => 1, T_NAME_FULLY_QUALIFIED => 1,
		T_VARIABLE => 1, T_RETURN => 1 ];

	private const BUILTIN = [ 'int', 'float', 'string', 'bool', 'array', 'callable', 'iterable', 'object', 'mixed', 'void', 'null',
		'false', 'true', 'never', 'self', 'static', 'parent' ];

	public function __construct( string $path, string $source, bool $tables ) {
		$this->dir = dirname( '/' . $path );
		$this->tables = $tables;
		foreach ( token_get_all( $source ) as $t ) {
			if ( !is_array( $t ) ) {
				$this->id[] = 0;
				$this->text[] = $t;
			} elseif ( $t[0] !== T_WHITESPACE && $t[0] !== T_COMMENT && $t[0] !== T_DOC_COMMENT && $t[0] !== T_OPEN_TAG ) {
				$this->id[] = $t[0];
				$this->text[] = $t[1];
			}
		}
		$this->n = count( $this->id );
		// Looking ahead at the end is looking at nothing.
		for ( $k = 0; $k < 4; $k++ ) {
			$this->id[] = -1;
			$this->text[] = '';
		}
	}

	private function isName( int $i ): bool {
		return isset( self::NAMES[$this->id[$i]] );
	}

	// name reads a name as it is written and leaves $i behind it.
	private function name( int &$i ): string {
		$name = '';
		while ( $i < $this->n && $this->isName( $i ) ) {
			$name .= $this->text[$i++];
		}
		return $name;
	}

	// full is what a class name means at this place of the source.
	private function full( string $name ): string {
		if ( $name === '' ) {
			return '';
		}
		if ( $name[0] === '\\' ) {
			return substr( $name, 1 );
		}
		if ( strncasecmp( $name, 'namespace\\', 10 ) === 0 ) {
			return ( $this->ns === '' ? '' : $this->ns . '\\' ) . substr( $name, 10 );
		}
		$parts = explode( '\\', $name, 2 );
		$first = strtolower( $parts[0] );
		if ( isset( $this->uses[$first] ) ) {
			return $this->uses[$first] . ( isset( $parts[1] ) ? '\\' . $parts[1] : '' );
		}
		return ( $this->ns === '' ? '' : $this->ns . '\\' ) . $name;
	}

	// closing is the place of the bracket that closes the one at $i.
	private function closing( int $i ): int {
		$depth = 0;
		for ( ; $i < $this->n; $i++ ) {
			switch ( $this->text[$i] ) {
				case '(':
				case '[':
				case '{':
				case '#[':
				case '${':
					$depth += $this->opens( $i ) ? 1 : 0;
					break;
				case ')':
				case ']':
				case '}':
					if ( $this->id[$i] === 0 && --$depth === 0 ) {
						return $i;
					}
			}
		}
		return $this->n;
	}

	private function opens( int $i ): bool {
		$id = $this->id[$i];
		return $id === 0 || $id === T_CURLY_OPEN || $id === T_DOLLAR_OPEN_CURLY_BRACES || $this->text[$i] === '#[' && $id !== T_INLINE_HTML
			&& $id !== T_ENCAPSED_AND_WHITESPACE;
	}

	public function run(): void {
		$depth = 0;
		$stack = []; // [depth of the body, index of the class or null for one without a name]
		for ( $i = 0; $i < $this->n; $i++ ) {
			$id = $this->id[$i];
			if ( !isset( self::STOPS[$id] ) ) {
				continue;
			}
			$top = $stack ? $stack[count( $stack ) - 1] : null;
			$inBody = $top !== null && $depth === $top[0];
			switch ( $id ) {
				case 0:
					$c = $this->text[$i];
					if ( $c === '{' ) {
						$depth++;
					} elseif ( $c === '}' ) {
						$depth--;
						if ( $top !== null && $depth < $top[0] ) {
							array_pop( $stack );
						}
					}
					break;
				case T_CURLY_OPEN:
				case T_DOLLAR_OPEN_CURLY_BRACES:
					$depth++;
					break;
				case T_NAMESPACE:
					$j = $i + 1;
					if ( $this->id[$j] !== T_NS_SEPARATOR && ( $this->isName( $j ) || $this->text[$j] === '{' ) ) {
						$this->ns = $this->name( $j );
						$this->uses = [];
						if ( $this->text[$j] === '{' ) {
							$depth++;
						}
						$i = $j;
					}
					break;
				case T_USE:
					if ( $inBody && $top[1] !== null ) {
						$i = $this->traits( $i, $top[1], $depth );
					} elseif ( $top === null && $this->text[$i + 1] !== '(' ) {
						$i = $this->imports( $i );
					}
					break;
				case T_CLASS:
				case T_INTERFACE:
				case T_TRAIT:
				case T_ENUM:
					if ( $i > 0 && in_array( $this->text[$i - 1], [ '::', '->', '?->', 'const' ], true ) ) {
						break;
					}
					if ( $this->id[$i + 1] === T_STRING ) {
						[ $i, $index ] = $this->declared( $i );
					} elseif ( $id === T_CLASS ) {
						$i = $this->unnamed( $i );
						$index = null;
					} else {
						break;
					}
					if ( $this->text[$i] === '{' ) {
						$stack[] = [ ++$depth, $index ];
					}
					break;
				case T_FUNCTION:
					$i = $this->func( $i, $inBody ? $top : null, $stack !== [] );
					break;
				case T_CONST:
					if ( $inBody && $top[1] !== null ) {
						$i = $this->constant( $i, $top[1] );
					}
					break;
				case T_STRING:
				case T_NAME_FULLY_QUALIFIED:
					$this->call( $i );
					break;
				case T_VARIABLE:
					if ( $this->tables && $top === null && $depth === 0 && $this->text[$i + 1] === '=' ) {
						$j = $i + 2;
						$this->vars[$this->text[$i]] = $v = $this->value( $j );
						$this->table( $this->text[$i], $v );
						$i = $j - 1;
					}
					break;
				case T_RETURN:
					if ( $this->tables && $top === null && $depth === 0 ) {
						$j = $i + 1;
						$v = $this->value( $j );
						if ( $this->text[$j] !== ';' ) {
							$v = null; // more than this can read: a sum, a call
						}
						$this->table( 'return', $v );
						$i = $j - 1;
					}
			}
		}
		if ( $this->tables && !isset( $this->out['tables']['return'] ) ) {
			$this->words();
		}
	}

	// words is every text in the source that could be a key: what is left when a table cannot be read.
	private function words(): void {
		for ( $i = 0; $i < $this->n; $i++ ) {
			if ( $this->id[$i] === T_CONSTANT_ENCAPSED_STRING ) {
				$w = $this->literal( $this->text[$i] );
				if ( strlen( $w ) < 200 ) {
					$this->out['words'][$w] = true;
				}
			}
		}
		$this->out['words'] = array_map( 'strval', array_keys( $this->out['words'] ) );
	}

	private function imports( int $i ): int {
		$i++;
		if ( $this->id[$i] === T_FUNCTION || $this->id[$i] === T_CONST ) {
			while ( $i < $this->n && $this->text[$i] !== ';' ) {
				$i++;
			}
			return $i;
		}
		while ( $i < $this->n ) {
			$name = ltrim( $this->name( $i ), '\\' );
			if ( $this->text[$i] === '{' ) {
				for ( $i++; $i < $this->n && $this->text[$i] !== '}'; $i++ ) {
					$one = $this->name( $i );
					if ( $one !== '' ) {
						$this->import( $name . $one, $i );
					}
					if ( $this->text[$i] === '}' ) {
						break;
					}
				}
				$i++;
			} elseif ( $name !== '' ) {
				$this->import( $name, $i );
			}
			if ( $this->text[$i] !== ',' ) {
				break;
			}
			$i++;
		}
		return $this->text[$i] === ';' ? $i : $i - 1;
	}

	private function import( string $name, int &$i ): void {
		$as = substr( '\\' . $name, strrpos( '\\' . $name, '\\' ) + 1 );
		if ( $this->id[$i] === T_AS ) {
			$as = $this->text[$i + 1];
			$i += 2;
		}
		$this->uses[strtolower( $as )] = $name;
	}

	// traits reads `use A, B { a as b; }` in a class; its braces are read too.
	private function traits( int $i, int $index, int $depth ): int {
		$class =& $this->out['classes'][$index];
		$i++;
		while ( $i < $this->n ) {
			$class['traits'][] = $this->full( $this->name( $i ) );
			if ( $this->text[$i] !== ',' ) {
				break;
			}
			$i++;
		}
		if ( $this->text[$i] !== '{' ) {
			return $this->text[$i] === ';' ? $i : $i - 1;
		}
		$end = $this->closing( $i );
		for ( $k = $i; $k < $end; $k++ ) {
			if ( $this->id[$k] === T_AS && $k + 1 < $end ) {
				$to = $k + 1;
				$visibility = '';
				if ( in_array( $this->id[$to], [ T_PUBLIC, T_PROTECTED, T_PRIVATE ], true ) ) {
					$visibility = $this->text[$to++];
				}
				$new = $this->text[$to] === ';' ? $this->text[$k - 1] : $this->text[$to];
				$class['trait_aliases'][strtolower( $new )] = [ 'of' => strtolower( $this->text[$k - 1] ), 'visibility' => $visibility ];
			}
		}
		return $end;
	}

	// declared reads the head of a class and stops at its brace.
	private function declared( int $i ): array {
		$kind = strtolower( $this->text[$i] );
		$abstract = false;
		for ( $k = $i - 1; $k >= 0 && preg_match( '/^(abstract|final|readonly)$/i', $this->text[$k] ); $k-- ) {
			$abstract = $abstract || strtolower( $this->text[$k] ) === 'abstract';
		}
		$class = [ 'name' => ( $this->ns === '' ? '' : $this->ns . '\\' ) . $this->text[$i + 1], 'kind' => $kind, 'abstract' => $abstract,
			'parent' => '', 'interfaces' => [], 'traits' => [], 'trait_aliases' => [], 'methods' => [], 'consts' => [] ];
		$what = '';
		for ( $i += 2; $i < $this->n && $this->text[$i] !== '{' && $this->text[$i] !== ';'; $i++ ) {
			if ( $this->id[$i] === T_EXTENDS || $this->id[$i] === T_IMPLEMENTS ) {
				$what = $this->id[$i] === T_EXTENDS && $kind === 'class' ? 'parent' : 'interfaces';
			} elseif ( $what !== '' && $this->isName( $i ) ) {
				$name = $this->full( $this->name( $i ) );
				$i--;
				if ( $what === 'parent' ) {
					$class['parent'] = $name;
				} else {
					$class['interfaces'][] = $name;
				}
			}
		}
		$this->out['classes'][] = $class;
		return [ $i, count( $this->out['classes'] ) - 1 ];
	}

	private function unnamed( int $i ): int {
		for ( $i++; $i < $this->n && $this->text[$i] !== '{' && $this->text[$i] !== ';'; $i++ ) {
			if ( $this->text[$i] === '(' ) {
				$i = $this->closing( $i );
			}
		}
		return $i;
	}

	private function func( int $i, ?array $body, bool $inClass ): int {
		$at = $i;
		$i++;
		if ( $this->text[$i] === '&' ) {
			$i++;
		}
		$name = $this->text[$i];
		if ( $name === '(' || $this->text[$i + 1] !== '(' ) {
			return $at; // a closure
		}
		if ( $body === null ) {
			if ( !$inClass ) {
				$this->out['functions'][] = ( $this->ns === '' ? '' : $this->ns . '\\' ) . $name;
			}
			return $i;
		}
		if ( $body[1] === null ) {
			return $i;
		}
		$m = [ 'name' => $name, 'visibility' => 'public', 'static' => false, 'abstract' => $this->out['classes'][$body[1]]['kind'] === 'interface' ];
		for ( $k = $at - 1; $k >= 0; $k-- ) {
			$word = strtolower( $this->text[$k] );
			if ( $word === 'static' || $word === 'abstract' ) {
				$m[$word] = true;
			} elseif ( $word === 'private' || $word === 'protected' || $word === 'public' ) {
				$m['visibility'] = $word;
			} elseif ( $word !== 'final' ) {
				break;
			}
		}
		$end = $this->closing( $i + 1 );
		$m += $this->parameters( $i + 2, $end );
		$this->out['classes'][$body[1]]['methods'][strtolower( $name )] = $m;
		return $end;
	}

	// parameters counts what a list takes: how many it needs, how many it takes at most (-1: any number), and their types.
	private function parameters( int $i, int $end ): array {
		$types = [];
		$required = 0;
		$count = 0;
		$many = false;
		while ( $i < $end ) {
			$from = $i;
			$var = null;
			$optional = false;
			for ( ; $i < $end && $this->text[$i] !== ','; $i++ ) {
				if ( $this->id[$i] === T_VARIABLE && $var === null ) {
					$var = $i;
				} elseif ( $this->text[$i] === '=' && $this->id[$i] === 0 ) {
					$optional = true;
				} elseif ( $this->id[$i] === T_ELLIPSIS && $var === null ) {
					$many = $optional = true;
				} elseif ( in_array( $this->text[$i], [ '(', '[', '{', '#[' ], true ) && $this->opens( $i ) && ( $var !== null || $this->text[$i] === '#[' ) ) {
					$i = $this->closing( $i );
				}
			}
			$i++;
			if ( $var === null ) {
				continue;
			}
			$count++;
			if ( !$optional ) {
				$required = $count;
			}
			$types[] = $this->type( $from, $var );
		}
		return [ 'required' => $required, 'most' => $many ? -1 : $count, 'types' => $types ];
	}

	// type is a type as a|b with class names in full; empty when it is not said or more than this can read.
	private function type( int $i, int $end ): string {
		$all = [];
		for ( ; $i < $end; $i++ ) {
			if ( $this->text[$i] === '#[' ) {
				$i = $this->closing( $i );
			} elseif ( $this->text[$i] === '?' ) {
				$all[] = 'null';
			} elseif ( $this->text[$i] === '(' ) {
				return '';
			} elseif ( $this->text[$i] === '&' ) {
				if ( $i + 1 < $end && $this->id[$i + 1] !== T_ELLIPSIS ) {
					return '';
				}
			} elseif ( $this->id[$i] === T_ARRAY || $this->id[$i] === T_CALLABLE || $this->id[$i] === T_STATIC ) {
				$all[] = strtolower( $this->text[$i] );
			} elseif ( $this->isName( $i ) ) {
				$name = $this->name( $i );
				$i--;
				$low = strtolower( $name );
				$all[] = in_array( $low, self::BUILTIN, true ) ? $low : $this->full( $name );
			}
		}
		return implode( '|', $all );
	}

	private function constant( int $i, int $index ): int {
		for ( $i++; $i < $this->n && $this->text[$i] !== ';'; $i++ ) {
			if ( $this->text[$i] === '=' && $this->id[$i] === 0 ) {
				$name = $this->text[$i - 1];
				$i++;
				$v = $this->value( $i );
				$i--;
				if ( is_string( $v ) && strlen( $v ) < 4096 ) {
					$this->out['classes'][$index]['consts'][$name] = $v;
				} elseif ( $this->tables && is_array( $v ) ) {
					$this->table( $this->out['classes'][$index]['name'] . '::' . $name, $v );
				}
			}
		}
		return $i;
	}

	// call notices class_alias( A::class, 'B' ), ->defineService( 'X', … ), ->get( 'X' ) and ->has( 'X' ).
	private function call( int $i ): void {
		if ( $this->text[$i + 1] !== '(' ) {
			return;
		}
		$what = strtolower( ltrim( $this->text[$i], '\\' ) );
		if ( $what === 'class_alias' ) {
			$j = $i + 2;
			$of = $this->named( $j );
			if ( $of !== null && $this->text[$j] === ',' ) {
				$j++;
				$as = $this->named( $j );
				if ( $as !== null ) {
					$this->out['class_aliases'][] = [ 'of' => ltrim( $of, '\\' ), 'as' => ltrim( $as, '\\' ) ];
				}
			}
		} elseif ( $what === 'defineservice' || $what === 'redefineservice' ) {
			$j = $i + 2;
			$name = $this->named( $j );
			if ( $name !== null ) {
				$this->out['defines'][] = $name;
			}
		} elseif ( ( $what === 'get' || $what === 'has' ) && $this->id[$i + 2] === T_CONSTANT_ENCAPSED_STRING && $this->text[$i + 3] === ')' ) {
			$name = $this->literal( $this->text[$i + 2] );
			if ( strlen( $name ) < 200 && preg_match( '/(config|conf|options)$/i', $this->receiver( $i ) ) ) {
				$this->out[$what === 'get' ? 'gets' : 'hases'][] = $name;
			}
		}
	}

	// named is a text or A::class, and nothing that could be long.
	private function named( int &$i ): ?string {
		if ( $this->id[$i] === T_CONSTANT_ENCAPSED_STRING ) {
			return $this->literal( $this->text[$i++] );
		}
		$name = $this->name( $i );
		if ( $name !== '' && $this->id[$i] === T_DOUBLE_COLON && strtolower( $this->text[$i + 1] ) === 'class' ) {
			$i += 2;
			return $this->full( $name );
		}
		return null;
	}

	// receiver is the name of the variable, property or method whose value a method at $i is called on.
	private function receiver( int $i ): string {
		if ( $i < 2 || $this->text[$i - 1] !== '->' && $this->text[$i - 1] !== '?->' ) {
			return '';
		}
		$i -= 2;
		$depth = 0;
		if ( $this->text[$i] === ')' ) {
			for ( $far = $i - 200; $i > 0 && $i > $far; $i-- ) {
				$depth += $this->text[$i] === ')' ? 1 : ( $this->text[$i] === '(' ? -1 : 0 );
				if ( $depth === 0 ) {
					break;
				}
			}
			$i--;
		}
		return $i >= 0 && ( $this->id[$i] === T_VARIABLE || $this->id[$i] === T_STRING ) ? $this->text[$i] : '';
	}

	private function table( string $name, $v ): void {
		if ( !is_array( $v ) ) {
			return;
		}
		$pairs = [];
		foreach ( $v['pairs'] as [ $key, $value ] ) {
			$many = [];
			if ( is_array( $value ) && isset( $value['pairs'] ) ) {
				foreach ( $value['pairs'] as $pair ) {
					if ( is_string( $pair[1] ) ) {
						$many[] = $pair[1];
					}
				}
			} elseif ( is_string( $value ) ) {
				$many[] = $value;
			}
			$pair = [ 'key' => (string)( is_array( $key ) ? '' : $key ), 'values' => $many ];
			if ( is_array( $key ) ) {
				$pair['const'] = $key['const'];
			}
			if ( is_array( $value ) && isset( $value['gives'] ) ) {
				$pair['gives'] = $value['gives'];
			}
			$pairs[] = $pair;
		}
		$this->out['tables'][$name] = [ 'pairs' => $pairs, 'open' => $v['open'] ];
	}

	// value reads an expression as far as it is written out, and leaves $i at what ends it: a text, an array as
	// [ 'pairs' => [ [ key, value ] ], 'open' => whether some of it cannot be read ], a constant as [ 'const' => 'A::B' ], a closure as
	// [ 'gives' => type ], or null.
	private function value( int &$i ) {
		$v = $this->operand( $i );
		while ( $this->text[$i] === '.' && $this->id[$i] === 0 ) {
			$i++;
			$w = $this->operand( $i );
			$v = is_string( $v ) && is_string( $w ) ? $v . $w : null;
		}
		if ( !$this->ends( $i ) ) {
			$v = null;
			while ( !$this->ends( $i ) ) {
				if ( in_array( $this->text[$i], [ '(', '[', '{', '#[', '${' ], true ) && $this->opens( $i ) ) {
					$i = $this->closing( $i );
				}
				$i++;
			}
		}
		return $v;
	}

	private function ends( int $i ): bool {
		if ( $i >= $this->n ) {
			return true;
		}
		return $this->id[$i] === T_DOUBLE_ARROW || $this->id[$i] === T_CLOSE_TAG ||
			$this->id[$i] === 0 && in_array( $this->text[$i], [ ',', ';', ')', ']', '}' ], true );
	}

	private function operand( int &$i ) {
		$id = $this->id[$i];
		$text = $this->text[$i];
		if ( $id === T_CONSTANT_ENCAPSED_STRING ) {
			$i++;
			return $this->literal( $text );
		}
		if ( $id === T_LNUMBER ) {
			$i++;
			return $text;
		}
		if ( $id === T_DIR ) {
			$i++;
			return $this->dir;
		}
		if ( $text === '[' && $id === 0 || $id === T_ARRAY && $this->text[$i + 1] === '(' ) {
			$i += $id === 0 ? 1 : 2;
			return $this->written( $i );
		}
		if ( $id === T_VARIABLE ) {
			$i++;
			return $this->vars[$text] ?? null;
		}
		if ( $id === T_STATIC && in_array( $this->id[$i + 1], [ T_FUNCTION, T_FN ], true ) ) {
			$i++;
			$id = $this->id[$i];
		}
		if ( $id === T_FUNCTION || $id === T_FN ) {
			return $this->closure( $i );
		}
		if ( $this->isName( $i ) ) {
			$name = $this->name( $i );
			if ( $this->text[$i] === '(' && strtolower( ltrim( $name, '\\' ) ) === 'dirname' ) {
				$i++;
				$v = $this->value( $i );
				$levels = 1;
				if ( $this->text[$i] === ',' ) {
					$i++;
					$levels = (int)$this->value( $i );
				}
				$i = $this->text[$i] === ')' ? $i + 1 : $i;
				return is_string( $v ) && $levels > 0 ? dirname( $v, $levels ) : null;
			}
			if ( $this->id[$i] === T_DOUBLE_COLON ) {
				$const = $this->text[$i + 1];
				$i += 2;
				return strtolower( $const ) === 'class' ? $this->full( $name ) : [ 'const' => $this->full( $name ) . '::' . $const ];
			}
		}
		return null;
	}

	// written reads the elements of an array up to its closing bracket and steps over it.
	private function written( int &$i ): array {
		$all = [ 'pairs' => [], 'open' => false ];
		while ( $i < $this->n && !in_array( $this->text[$i], [ ']', ')' ], true ) ) {
			if ( $this->text[$i] === ',' ) {
				$i++;
				continue;
			}
			$at = $i;
			$key = $this->value( $i );
			$value = $key;
			if ( $this->id[$i] === T_DOUBLE_ARROW ) {
				$i++;
				$value = $this->value( $i );
				if ( is_string( $key ) || is_array( $key ) && isset( $key['const'] ) ) {
					$all['pairs'][] = [ $key, $value ];
				} else {
					$all['open'] = true;
				}
			} elseif ( is_string( $value ) ) {
				$all['pairs'][] = [ '', $value ];
			} else {
				$all['open'] = true;
			}
			if ( $i === $at || in_array( $this->text[$i], [ ';', '}' ], true ) ) {
				$all['open'] = true; // no array after all
				return $all;
			}
		}
		$i++;
		return $all;
	}

	// closure steps over a function without a name and tells what it says it gives.
	private function closure( int &$i ): ?array {
		$arrow = $this->id[$i] === T_FN;
		$i++;
		if ( $this->text[$i] === '&' ) {
			$i++;
		}
		if ( $this->text[$i] !== '(' ) {
			return null;
		}
		$i = $this->closing( $i ) + 1;
		if ( !$arrow && $this->id[$i] === T_USE ) {
			$i = $this->closing( $i + 1 ) + 1;
		}
		$gives = '';
		if ( $i < $this->n && $this->text[$i] === ':' ) {
			$from = ++$i;
			while ( $i < $this->n && $this->text[$i] !== '{' && $this->id[$i] !== T_DOUBLE_ARROW && $this->text[$i] !== ';' ) {
				$i++;
			}
			$gives = $this->type( $from, $i );
		}
		if ( $arrow ) {
			$i++;
			$this->value( $i );
		} elseif ( $i < $this->n && $this->text[$i] === '{' ) {
			$i = $this->closing( $i ) + 1;
		}
		return [ 'gives' => $gives ];
	}

	private function literal( string $text ): string {
		$inner = substr( $text, 1, -1 );
		return $text[0] === "'" ? str_replace( [ '\\\\', "\\'" ], [ '\\', "'" ], $inner ) : stripcslashes( $inner );
	}
}

// builtin tells of a class or function that PHP or one of its extensions brings.
function builtin( string $name ): array {
	$out = [ 'classes' => [], 'functions' => [], 'class_aliases' => [], 'defines' => [], 'gets' => [], 'hases' => [], 'tables' => (object)[], 'words' => [] ];
	if ( function_exists( $name ) && ( new ReflectionFunction( $name ) )->isInternal() ) {
		$out['functions'][] = $name;
	}
	if ( !class_exists( $name, false ) && !interface_exists( $name, false ) && !trait_exists( $name, false ) ) {
		return $out;
	}
	$r = new ReflectionClass( $name );
	if ( !$r->isInternal() ) {
		return $out;
	}
	$class = [ 'name' => $r->getName(), 'kind' => $r->isInterface() ? 'interface' : 'class', 'abstract' => $r->isAbstract() && !$r->isInterface(),
		'parent' => $r->getParentClass() ? $r->getParentClass()->getName() : '', 'interfaces' => $r->getInterfaceNames(), 'traits' => [],
		'trait_aliases' => (object)[], 'methods' => [], 'consts' => (object)[] ];
	foreach ( $r->getMethods() as $m ) {
		$class['methods'][strtolower( $m->getName() )] = [ 'name' => $m->getName(),
			'visibility' => $m->isPrivate() ? 'private' : ( $m->isProtected() ? 'protected' : 'public' ), 'static' => $m->isStatic(),
			'abstract' => $m->isAbstract(), 'required' => $m->getNumberOfRequiredParameters(),
			'most' => $m->isVariadic() ? -1 : $m->getNumberOfParameters(), 'types' => [] ];
	}
	$class['methods'] = (object)$class['methods'];
	$out['classes'][] = $class;
	return $out;
}

if ( !function_exists( 'token_get_all' ) ) {
	answer( [ 'php' => PHP_VERSION, 'tokenizer' => false ] );
	exit( 0 );
}
answer( [ 'php' => PHP_VERSION, 'tokenizer' => true ] );
while ( true ) {
	$path = take( unpack( 'N', take( 4 ) )[1] );
	$want = take( 1 );
	$length = unpack( 'N', take( 4 ) )[1];
	$source = $length > 0 ? take( $length ) : '';
	if ( $want === 'i' ) {
		answer( builtin( $source ) );
		continue;
	}
	$scan = new Scan( $path, $source, $want === 't' );
	$scan->run();
	foreach ( $scan->out['classes'] as &$class ) {
		foreach ( [ 'trait_aliases', 'methods', 'consts' ] as $map ) {
			$class[$map] = (object)$class[$map];
		}
	}
	unset( $class );
	$scan->out['tables'] = (object)$scan->out['tables'];
	answer( $scan->out );
}
