//go:build !unix

package sqlite

// lock does nothing where there are no advisory locks: there SQLite alone keeps two
// processes apart, and makes one of them wait.
func lock(string) (unlock func() error, err error) { return func() error { return nil }, nil }
