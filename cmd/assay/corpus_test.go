package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every public file of the formats that are read is read, or refused with its
// name: by bom list and by golden import.
func TestPublicFilesAreReadOrRefused(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "corpus", "hardware")
	if _, err := os.Stat(root); err != nil {
		t.Skip("needs shared/corpus/hardware beside the checkout")
	}
	for _, kind := range []string{"redfish", "cerberus", "dmidecode", "lspci", "boards", "ipc2581"} {
		t.Run(kind, func(t *testing.T) {
			codes := map[string]map[int]int{"list": {}, "import": {}}
			try := func(what string, args ...string) {
				var out, errs bytes.Buffer
				env := newEnvironment()
				env.stdout, env.stderr = &out, &errs
				code := run(args, env)
				codes[what][code]++
				require.Contains(t, []int{0, 64, 65}, code, "%v: %s", args, errs.String())
				if code == 65 {
					require.Contains(t, errs.String(), filepath.Base(args[2]), "%v", args)
				}
			}
			require.NoError(t, filepath.WalkDir(filepath.Join(root, kind), func(p string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() || testing.Short() {
					return err
				}
				try("list", "bom", "list", p, "--format", "json")
				try("import", "golden", "import", p, "--manufacturer", "Example")
				return nil
			}))
			t.Logf("%s: exit codes %v", kind, codes)
		})
	}
}
