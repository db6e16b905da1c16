package assay_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each direct dependency has a reason, what is linked has a licence that is
// allowed, and docs/dependencies.md says so (tools/deps).
func TestDependenciesAreExplained(t *testing.T) {
	out, err := exec.Command("go", "run", "-C", "tools/deps", ".", "-check").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
