package store

// OpenRefusing is Open with a say in every change that the store makes on its disk: refuse is asked before each one with
// what is done ("create", "write", "rename", …) and to which name, and an error of it takes the change's place. Fixtures
// stage full and dying disks with it.
func OpenRefusing(root string, refuse func(op, name string) error) (*Store, error) {
	return openWith(root, &fault{before: refuse})
}
