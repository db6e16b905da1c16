package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet/settings"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "settings.yaml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestRead(t *testing.T) {
	for text, want := range map[string]string{
		"name: a\n":                      "",
		"":                               "",
		"nome: a\n":                      "settings.yaml: yaml: ",
		"name: [a\n":                     "settings.yaml: yaml: ",
		strings.Repeat("#", 1<<20) + "#": "exceeds the limit of 1048576 bytes",
	} {
		var v struct {
			Name string `yaml:"name"`
		}
		err := settings.Read(write(t, text), &v)
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
	}
	require.ErrorIs(t, settings.Read(filepath.Join(t.TempDir(), "none"), &struct{}{}), os.ErrNotExist)
}

func TestSecret(t *testing.T) {
	name := write(t, "a secret \r\n")
	for _, path := range []string{name, filepath.Base(name)} {
		got, err := settings.Secret(filepath.Join(filepath.Dir(name), "other.yaml"), path)
		require.NoError(t, err)
		require.Equal(t, "a secret ", got)
	}
	_, err := settings.Secret("/", write(t, "\n"))
	require.ErrorContains(t, err, "is empty")
}
