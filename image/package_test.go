package image

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// packager puts a program in the place of apt-get that offers one file and, when
// it is asked to, fetches it and leaves a trace.
func packager(t *testing.T, file, listed, contents string) (downloads func() int) {
	t.Helper()
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	script := fmt.Sprintf(`#!/bin/sh
case "$*" in
*--print-uris*) echo "'http://mirror.example/%[1]s' %[1]s 7 %[2]s" ;;
*) printf %%s '%[3]s' >'%[1]s'; echo fetched >>%[4]s ;;
esac
`, file, listed, contents, trace)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() int {
		b, err := os.ReadFile(trace)
		if err != nil {
			return 0
		}
		return len(b) / len("fetched\n")
	}
}

func sum(s string) string { return fmt.Sprintf("SHA256:%x", sha256.Sum256([]byte(s))) }

// An old package, or half of one, in the cache is not what apt would fetch.
func TestCachedPackageIsTheOneThatAptOffers(t *testing.T) {
	b := &builder{opt: Options{Cache: t.TempDir()}}
	old := filepath.Join(b.opt.Cache, "linux_6.1.9_amd64.deb")
	require.NoError(t, os.WriteFile(old, []byte("old"), 0o600))
	const name = "linux_6.1.10_amd64.deb" // sorts before the old one as text
	downloads := packager(t, name, sum("new"), "new")
	for range 2 {
		file, err := b.fetch(context.Background(), "linux")
		require.NoError(t, err)
		require.Equal(t, filepath.Join(b.opt.Cache, name), file)
		require.Equal(t, 1, downloads(), "once")
	}
	require.NoError(t, os.WriteFile(filepath.Join(b.opt.Cache, name), []byte("ne"), 0o600))
	_, err := b.fetch(context.Background(), "linux")
	require.NoError(t, err)
	require.Equal(t, 2, downloads(), "half a file is fetched again")
}

func TestPackageThatIsNotTheListedOneIsRefused(t *testing.T) {
	b := &builder{opt: Options{Cache: t.TempDir()}}
	packager(t, "linux_1_amd64.deb", sum("new"), "other")
	_, err := b.fetch(context.Background(), "linux")
	require.ErrorContains(t, err, "it left no file")
	var in *InputError
	require.NotErrorAs(t, err, &in)
	packager(t, "../linux_1_amd64.deb", sum("new"), "new")
	_, err = b.fetch(context.Background(), "linux")
	require.ErrorContains(t, err, "names no package")
}
