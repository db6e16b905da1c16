package lab

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

// board is what all scenarios of a controller share.
type board struct {
	server               // its directory, its program, and what its manifest is
	*Controller          // the parts that every boot has
	sold, altered string // flash images: as sold, and with code that is not the maker's
}

// The time of all scans: the controller has no clock, and the keys of the tests
// are of January 2026.
var scanTime = time.Date(2026, 1, 16, 0, 0, 0, 0, time.UTC)

const scanNonce = "61206e6f6e6365206f66207369787465656e206279746573206f72206d6f7265"

// TestController runs the hardware of a management controller, an AST2600, from a
// flash as OpenBMC divides it, and collects on it. The controller's own read of the
// flash is one way to it. The file behind the emulated chip is the other: what a
// clip on the chip would read. A part between both is emulated by giving the
// controller another file than the clip.
func TestController(t *testing.T) {
	if os.Getenv("ASSAY_E2E") == "" {
		t.Skip("boots whole machines for minutes; make e2e runs it")
	}
	require.NoError(t, Available())
	b := newBoard(t)
	t.Cleanup(func() { b.print(t) })
	t.Run("scenarios", func(t *testing.T) {
		for name, scenario := range map[string]func(*testing.T, *board){
			"booted again, and both ways agree":                  bothWaysAgree,
			"the chip is clean, the controller reads other code": betweenChipAndController,
			"a chip more on a bus of the controller":             chipOnTheBus,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				scenario(t, b)
			})
		}
	})
}

func newBoard(t *testing.T) *board {
	b := &board{server: server{dir: t.TempDir(), program: filepath.Join("..", "bin", "assay")}}
	program := b.file("init")
	b.command(t, []string{"GOOS=linux", "GOARCH=arm", "GOARM=7", "CGO_ENABLED=0"}, "go", "build", "-trimpath", "-o", program, "./lab/controller")
	b.command(t, nil, "go", "run", "./demo/story", b.file("story"), "a01-openbmc-altered=L4")
	b.sold, b.altered = b.file("sold.img"), b.file("altered.img")
	b.fill(t, b.sold, "sold")
	b.fill(t, b.altered, "openbmc-altered-L4")
	var err error
	b.Controller, err = NewController(context.Background(), b.dir, program)
	require.NoError(t, err)
	b.trust, b.golden = b.file("trust"), b.file("golden.json")
	require.NoError(t, os.Mkdir(b.trust, 0o700))
	require.NoError(t, copyFile(filepath.Join(b.trust, "root.pem"), filepath.Join(keys, "trust", "root.pem")))
	require.NoError(t, os.WriteFile(filepath.Join(b.trust, "trust.yaml"), []byte(grants), 0o600))
	b.run(t, 0, "golden", "draft", b.start(t, "first", b.sold).Bundle, "--now", scanTime.Format(time.RFC3339), "-o", b.file("draft.json"))
	b.run(t, 0, append([]string{"golden", "sign", b.file("draft.json"), "-o", b.golden}, signer...)...)
	return b
}

var (
	keys   = filepath.Join("..", "testdata", "keys")
	signer = []string{"--key", filepath.Join(keys, "vendor.key"), "--cert", filepath.Join(keys, "vendor.pem")}
)

const grants = `grants:
  - signer: {organization: Assay Lab Computer Inc.}
    manufacturers: [aspeed]
  - signer: {organization: Assay Lab Computer Inc.}
    manufacturers: ["*"]
    classes: [inspection]
`

// command runs a program in the module's directory.
func (b *board) command(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// fill makes a chip of the flash image of a state of the story; the rest is blank.
func (b *board) fill(t *testing.T, file, state string) {
	image, err := os.ReadFile(filepath.Join(b.dir, "story", state, "evidence", "firmware", "bmc.rom"))
	require.NoError(t, err)
	image = append(image, bytes.Repeat([]byte{0xff}, controllerFlash-len(image))...)
	require.NoError(t, os.WriteFile(file, image, 0o600))
}

// start boots the controller. What the controller read of
// its flash is the file behind it, byte for byte.
func (b *board) start(t *testing.T, name, flash string, add ...string) *Run {
	t.Helper()
	c := *b.Controller
	c.Flash, c.Add = flash, add
	run, err := c.Boot(context.Background(), b.file(name), scanNonce, scanTime)
	require.NoError(t, err)
	e, err := evidence.Open(run.Bundle, evidence.Limits{})
	require.NoError(t, err)
	got, err := e.Read("firmware/bmc.rom")
	require.NoError(t, err)
	want, err := os.ReadFile(flash)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "the controller reads another flash than it has")
	return run
}

// clip is a signed record of somebody who read the chip with a clip.
func (b *board) clip(t *testing.T, name, chip string) []string {
	t.Helper()
	dir := b.file("clip-" + name)
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, copyFile(filepath.Join(dir, "u14.bin"), chip))
	draft, record := filepath.Join(dir, "draft.json"), filepath.Join(dir, "record.json")
	b.run(t, 0, "inspection", "draft", b.file("first/evidence.zip"), "--id", name, "--technique", "clip-dump", "--operator", "Assay Lab/Op 7",
		"--reference", "golden images of the board", "--directory", dir, "--attach", "u14.bin=bmc", "--result", "undecided", "--now", scanTime.Format(time.RFC3339), "-o", draft)
	b.run(t, 0, append([]string{"inspection", "sign", draft, "-o", record}, signer...)...)
	return []string{"--inspection", record, "--attachments", dir}
}

// judge verifies and returns what is looked at.
func (b *board) judge(t *testing.T, name string, run *Run, more ...string) *result {
	t.Helper()
	args := append([]string{"verify", run.Bundle, "--golden", b.golden, "--trust", b.trust, "--nonce", scanNonce, "--now", scanTime.Format(time.RFC3339), "--format", "json"}, more...)
	return b.verdict(t, name, run, args...)
}

func bothWaysAgree(t *testing.T, b *board) {
	r := b.judge(t, "controller, both ways agree", b.start(t, "again", b.sold), b.clip(t, "agree", b.sold)...)
	require.Equal(t, "pass", r.Verdict)
	require.Empty(t, r.codes())
}

func betweenChipAndController(t *testing.T, b *board) {
	run := b.start(t, "between", b.altered)
	r := b.judge(t, "controller reads other code", run)
	require.Equal(t, "fail", r.Verdict)
	require.Subset(t, r.codes(), []string{"FW-012"}, "the image by itself")
	require.NotContains(t, r.codes(), "FW-007")
	r = b.judge(t, "controller reads other code, clip", run, b.clip(t, "clean", b.sold)...)
	require.Equal(t, "fail", r.Verdict)
	require.Subset(t, r.codes(), []string{"FW-007", "FW-012"}, "and the chip is clean")
}

func chipOnTheBus(t *testing.T, b *board) {
	r := b.judge(t, "controller, chip on a bus", b.start(t, "bus", b.sold, "tmp105,bus=aspeed.i2c.bus.3,address=0x4a"))
	require.Equal(t, "fail", r.Verdict)
	require.Equal(t, []string{"HW-007"}, r.codes())
	require.Equal(t, "i2c:3-004a", r.Findings[0].Subject)
}
