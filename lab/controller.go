package lab

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
	"github.com/u-root/u-root/pkg/dt"
)

// Controller is the hardware of a management controller by itself: an AST2600
// evaluation board with two flash chips of 64 MiB and its I2C buses, which QEMU
// emulates and Debian's kernel for ARM runs on.
type Controller struct {
	Dir   string
	Flash string   // file with what the controller reads from its first flash
	Add   []string // more devices, as arguments of -device

	kernel, board string // files
}

const (
	controllerFlash = 64 << 20 // mx66u51235f of QEMU's ast2600-evb, which Linux takes for mx25u51245g
	controllerTime  = 10 * time.Minute
)

// controllerDrivers are modules of Debian's kernel, in an order that their
// dependencies allow.
var controllerDrivers = []string{
	"drivers/i2c/busses/i2c-aspeed", "drivers/i2c/i2c-dev", "drivers/misc/eeprom/at24", "drivers/hwmon/lm75",
	"drivers/mtd/spi-nor/spi-nor", "drivers/spi/spi-aspeed-smc",
}

// NewController makes a board that runs a program as its first process; the
// program is one for ARM (GOARM=7).
func NewController(ctx context.Context, dir, program string) (*Controller, error) {
	pkg, err := armKernel(ctx, dir)
	if err != nil {
		return nil, err
	}
	c := &Controller{Dir: dir}
	kernels, _ := filepath.Glob(filepath.Join(pkg, "boot", "vmlinuz-*"))
	boards, _ := filepath.Glob(filepath.Join(pkg, "usr", "lib", "linux-image-*", "aspeed-ast2600-evb.dtb"))
	modules, _ := filepath.Glob(filepath.Join(pkg, "lib", "modules", "*", "kernel"))
	if len(kernels) != 1 || len(boards) != 1 || len(modules) != 1 {
		return nil, fmt.Errorf("kernel for ARM: %d kernels, %d boards and %d module trees in it", len(kernels), len(boards), len(modules))
	}
	c.kernel, c.board = kernels[0], filepath.Join(dir, "board.dtb")
	if err := nameBoard(c.board, boards[0]); err != nil {
		return nil, err
	}
	init, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	records := []cpio.Record{
		cpio.CharDev("dev/console", 0o600, 5, 1), cpio.StaticFile("init", string(init), 0o755),
		cpio.Directory("dev", 0o755), cpio.Directory("proc", 0o755), cpio.Directory("sys", 0o755), cpio.Directory("modules", 0o755),
	}
	var order []string
	for _, name := range controllerDrivers {
		b, err := os.ReadFile(filepath.Join(modules[0], name+".ko"))
		if err != nil {
			return nil, err
		}
		order = append(order, filepath.Base(name))
		records = append(records, cpio.StaticFile("modules/"+filepath.Base(name), string(b), 0o644))
	}
	records = append(records, cpio.StaticFile("modules/order", strings.Join(order, "\n"), 0o644))
	return c, writeArchive(c.initrd(), records)
}

func (c *Controller) initrd() string { return filepath.Join(c.Dir, "controller.cpio") }

func writeArchive(file string, records []cpio.Record) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := cpio.Newc.Writer(f)
	return errors.Join(cpio.WriteRecords(w, records), cpio.WriteTrailer(w), f.Close())
}

// nameBoard gives a board's device tree a serial number, as boot loaders do.
func nameBoard(to, from string) error {
	tree, err := dt.ReadFile(from)
	if err != nil {
		return err
	}
	tree.RootNode.Update(dt.PropertyString("serial-number", "EVB-LAB-0042"))
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = tree.Write(f)
	return errors.Join(err, f.Close())
}

// armKernel fetches and unpacks Debian's kernel for ARM. apt has lists of its own
// for that architecture, so that those of the machine stay as they are; it checks
// the signatures as ever.
func armKernel(ctx context.Context, dir string) (string, error) {
	for _, d := range []string{"lists/partial", "cache/archives/partial", "package"} {
		if err := os.MkdirAll(filepath.Join(dir, "apt", d), 0o755); err != nil {
			return "", err
		}
	}
	at := func(name string) string { return filepath.Join(dir, "apt", name) }
	conf := fmt.Sprintf("APT::Architecture \"armhf\";\nAPT::Architectures {\"armhf\";};\nAPT::Sandbox::User \"root\";\nDir::State::Lists %q;\nDir::Cache %q;\nDir::State::status %q;\n", at("lists"), at("cache"), at("status"))
	if err := errors.Join(os.WriteFile(at("conf"), []byte(conf), 0o600), os.WriteFile(at("status"), nil, 0o600)); err != nil {
		return "", err
	}
	apt := func(program string, args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Dir, cmd.Env = at("package"), append(os.Environ(), "APT_CONFIG="+at("conf"))
		var msg bytes.Buffer
		cmd.Stderr = &msg
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, last(msg.Bytes()))
		}
		return out, err
	}
	_, updated := apt("apt-get", "update", "-q") // one list that fails does not matter when the others have the kernel
	out, err := apt("apt-cache", "depends", "linux-image-armmp")
	if err != nil {
		return "", errors.Join(err, updated)
	}
	_, name, _ := strings.Cut(string(out), "Depends: ")
	name, _, _ = strings.Cut(name, "\n")
	if _, err := apt("apt-get", "download", "-q", name); err != nil {
		return "", errors.Join(err, updated)
	}
	files, err := filepath.Glob(filepath.Join(at("package"), "*.deb"))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("kernel for ARM: %d packages", len(files))
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", files[0], at("unpacked")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("dpkg-deb: %w: %s", err, last(out))
	}
	return at("unpacked"), nil
}

// Boot starts the controller and takes the evidence from its second flash. The
// nonce and the time are those of the scan.
func (c *Controller) Boot(ctx context.Context, dir, nonce string, now time.Time) (*Run, error) {
	ctx, cancel := context.WithTimeout(ctx, controllerTime)
	defer cancel()
	began := time.Now()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	run := &Run{Serial: file("serial.log"), Bundle: file("evidence.zip")}
	stamp, err := now.UTC().MarshalText()
	if err != nil {
		return nil, err
	}
	// What is different in each boot comes in an archive of its own; Linux reads
	// archives that follow each other.
	if err := writeArchive(file("boot.cpio"), []cpio.Record{cpio.StaticFile("nonce", nonce, 0o644), cpio.StaticFile("time", string(stamp), 0o644)}); err != nil {
		return nil, err
	}
	if err := join(file("initrd"), c.initrd(), file("boot.cpio")); err != nil {
		return nil, err
	}
	if err := errors.Join(copyFile(file("bmc.img"), c.Flash), blank(file("pnor.img"), controllerFlash)); err != nil {
		return nil, err
	}
	q := exec.CommandContext(ctx, "qemu-system-arm", c.arguments(dir, run.Serial)...)
	if out, err := q.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("qemu: %w: %s\nconsole: %s", err, last(out), tail(run.Serial))
	}
	if err := takeEvidence(file("pnor.img"), run.Bundle); err != nil {
		return nil, fmt.Errorf("%w; the console ended with:\n%s", err, tail(run.Serial))
	}
	run.Took = time.Since(began)
	return run, nil
}

func (c *Controller) arguments(dir, serial string) []string {
	a := []string{
		"-M", "ast2600-evb", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "file:" + serial,
		"-kernel", c.kernel, "-dtb", c.board, "-initrd", filepath.Join(dir, "initrd"),
		// The window of the flash is mapped as a whole.
		"-append", "console=ttyS4,115200 vmalloc=704M panic=-1 quiet",
		"-drive", "if=mtd,format=raw,file=" + filepath.Join(dir, "bmc.img"), "-drive", "if=mtd,format=raw,file=" + filepath.Join(dir, "pnor.img"),
	}
	for _, d := range c.Add {
		a = append(a, "-device", d)
	}
	return a
}

// takeEvidence reads what the controller left, which is compressed.
func takeEvidence(flash, to string) error {
	f, err := os.Open(flash)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return fmt.Errorf("the controller left no evidence: %w", err)
	}
	z.Multistream(false) // the rest of the flash is blank
	b, err := io.ReadAll(z)
	if err != nil {
		return fmt.Errorf("the controller's evidence: %w", err)
	}
	return os.WriteFile(to, b, 0o600)
}

// blank makes a file that is as flash is when it was erased.
func blank(file string, size int) error {
	return os.WriteFile(file, bytes.Repeat([]byte{0xff}, size), 0o600)
}

func join(to string, parts ...string) error {
	var all []byte
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		all = append(all, b...)
	}
	return os.WriteFile(to, all, 0o600)
}
