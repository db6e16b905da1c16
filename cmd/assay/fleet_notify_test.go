package main

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTellReady(t *testing.T) {
	tellReady() // nobody asks
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenPacket("unixgram", socket)
	require.NoError(t, err)
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	tellReady()
	b := make([]byte, 64)
	n, _, err := l.ReadFrom(b)
	require.NoError(t, err)
	require.Equal(t, "READY=1", string(b[:n]))
}
