package web

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDump(t *testing.T) {
	s := newFleet(t)
	b := s.as("anna")
	dir := os.Getenv("DUMP")
	for name, path := range map[string]string{"overview": "/", "machines": "/machines", "h1": "/machines/h-1", "h2": "/machines/h-2", "cohorts": "/cohorts", "cohort": "/cohorts/7261636b00000000", "goldens": "/goldens", "exceptions": "/exceptions", "log": "/log", "moved": "/moved?since=7d",
		"result": "/results/" + s.resultOf("h-1"), "parts": "/results/" + s.resultOf("h-1") + "/parts", "boot": "/results/" + s.resultOf("h-1") + "/boot", "firmware": "/results/" + s.resultOf("h-1") + "/firmware"} {
		p := b.page(path)
		if dir != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name+".html"), []byte(p), 0o600))
		}
	}
}
