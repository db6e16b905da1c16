package main

import (
	"net"
	"os"
)

// tellReady tells systemd that the server serves (sd_notify(3), Type=notify in its unit),
// so that who starts it hears of a failure, and finds in the journal what it says at first.
func tellReady() {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	c, err := net.Dial("unixgram", socket)
	if err != nil {
		return // nobody waits; systemd would say so
	}
	defer c.Close()
	_, _ = c.Write([]byte("READY=1"))
}
