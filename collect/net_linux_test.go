package collect

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The kernel writes through a pointer, and a stack may move before it does: at
// every depth of the stack the answer is the same.
func TestDriversAnswerAtEveryDepth(t *testing.T) {
	ports, _ := filepath.Glob("/sys/class/net/*/device")
	if len(ports) == 0 {
		t.Skip("needs a network port with a driver")
	}
	port := filepath.Base(filepath.Dir(ports[0]))
	d, err := openDrivers()
	require.NoError(t, err)
	defer d.close()
	want, err := d.info(port)
	require.NoError(t, err)
	require.Len(t, want, 196)
	driver, err := os.Readlink(filepath.Join(ports[0], "driver"))
	require.NoError(t, err)
	require.Contains(t, string(want), filepath.Base(driver))
	mac, err := d.permanent(port)
	require.NoError(t, err)
	for depth := range 400 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			atDepth(depth, func() {
				got, err := d.info(port)
				if err != nil || string(got) != string(want) {
					t.Errorf("depth %d: %q, %v", depth, got, err)
				}
				if again, err := d.permanent(port); err != nil || again != mac {
					t.Errorf("depth %d: %q, %v", depth, again, err)
				}
			})
		}()
		<-done
	}
}

//go:noinline
func atDepth(n int, call func()) byte {
	var pad [128]byte
	pad[n%128] = 1
	if n == 0 {
		call()
		return pad[0]
	}
	return pad[n%128] + atDepth(n-1, call)
}
