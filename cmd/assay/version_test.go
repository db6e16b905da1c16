package main

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever installs with go install sets no version; the module has one.
func TestVersion(t *testing.T) {
	of := func(v string) *debug.BuildInfo { return &debug.BuildInfo{Main: debug.Module{Version: v}} }
	require.Equal(t, "v1.2.3", versionOf("v1.2.3", of("v9.9.9")))
	require.Equal(t, "v1.2.3", versionOf("", of("v1.2.3")))
	require.Equal(t, "devel", versionOf("", of("(devel)")))
	require.Equal(t, "devel", versionOf("", of("")))
	require.Equal(t, "devel", versionOf("", nil))
}
