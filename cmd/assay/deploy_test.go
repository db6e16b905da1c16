package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The units are what systemd takes, and start commands that are there.
func TestSystemdUnits(t *testing.T) {
	units, err := filepath.Glob(filepath.Join("..", "..", "deploy", "systemd", "assay-*"))
	require.NoError(t, err)
	require.Len(t, units, 3)
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	dir := t.TempDir()
	args := []string{"verify"}
	for _, u := range units {
		raw, err := os.ReadFile(u)
		require.NoError(t, err)
		text := string(raw)
		for _, line := range strings.Split(text, "\n") {
			if start, ok := strings.CutPrefix(line, "ExecStart=/usr/bin/assay "); ok {
				var words []string
				for _, w := range strings.Fields(start) {
					if strings.HasPrefix(w, "$ASSAY_") {
						continue // what the operator adds
					}
					words = append(words, strings.ReplaceAll(w, "${CREDENTIALS_DIRECTORY}", dir))
				}
				out, code := assayed(t, nil, append(words, "--help")...)
				require.Zero(t, code, "%s: %s", u, out)
				require.NotContains(t, out, "unknown")
			}
		}
		// The program is not installed here, and nothing is started.
		name := filepath.Join(dir, filepath.Base(u))
		require.NoError(t, os.WriteFile(name, []byte(strings.ReplaceAll(text, "/usr/bin/assay ", "/bin/true ")), 0o600))
		args = append(args, name)
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
}
