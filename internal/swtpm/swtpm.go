// Package swtpm gives tests real TPMs in software: the programs swtpm and
// swtpm_setup, each TPM with a state of its own.
package swtpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Available says why tests with a TPM cannot run here, or nil.
func Available() error {
	for _, p := range []string{"swtpm", "swtpm_setup", "swtpm_localca"} {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("needs %s (Debian packages swtpm and swtpm-tools; tools/setup.sh installs them)", p)
		}
	}
	return nil
}

// TPM is a running TPM.
type TPM struct {
	Address string // as --tpm takes it
	dir     string
	cmd     *exec.Cmd
}

// Maker is the certificate authority of the TPMs of one test.
type Maker struct{ dir string }

// NewMaker makes an authority whose files are under dir.
func NewMaker(dir string) *Maker { return &Maker{dir: dir} }

// Roots are the files with the authority's certificates.
func (m *Maker) Roots() []string {
	return []string{filepath.Join(m.dir, "ca", "swtpm-localca-rootca-cert.pem"), filepath.Join(m.dir, "ca", "issuercert.pem")}
}

func (m *Maker) write() (string, error) {
	ca := filepath.Join(m.dir, "ca")
	if err := os.MkdirAll(ca, 0o700); err != nil {
		return "", err
	}
	files := map[string]string{
		"localca.conf":    fmt.Sprintf("statedir = %[1]s\nsigningkey = %[1]s/signkey.pem\nissuercert = %[1]s/issuercert.pem\ncertserial = %[1]s/certserial\n", ca),
		"localca.options": "--platform-manufacturer Assay\n--platform-version 1\n--platform-model Test\n",
		"setup.conf":      fmt.Sprintf("create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = %[1]s/localca.conf\ncreate_certs_tool_options = %[1]s/localca.options\n", m.dir),
	}
	for n, text := range files {
		if err := os.WriteFile(filepath.Join(m.dir, n), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return filepath.Join(m.dir, "setup.conf"), nil
}

// Manufacture makes the state of a new TPM in a directory: certified
// endorsement keys and these active banks ("sha256,sha384").
func (m *Maker) Manufacture(dir, banks string) error {
	conf, err := m.write()
	if err != nil {
		return err
	}
	args := []string{"--tpm2", "--tpmstate", dir, "--config", conf, "--create-ek-cert", "--lock-nvram", "--pcr-banks", banks, "--vmid", filepath.Base(dir), "--overwrite"}
	if out, err := exec.Command("swtpm_setup", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("swtpm_setup: %w: %s", err, out)
	}
	return nil
}

// Make manufactures a TPM and starts it.
func (m *Maker) Make(banks string) (*TPM, error) {
	// A socket's path has to be short.
	dir, err := os.MkdirTemp("", "tpm")
	if err != nil {
		return nil, err
	}
	if err := m.Manufacture(dir, banks); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	t := &TPM{dir: dir, Address: "swtpm:" + filepath.Join(dir, "sock")}
	return t, t.start()
}

func (t *TPM) start() error {
	sock := filepath.Join(t.dir, "sock")
	t.cmd = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+t.dir, "--server", "type=unixio,path="+sock, "--flags", "not-need-init,startup-clear")
	if err := t.cmd.Start(); err != nil {
		return fmt.Errorf("swtpm: %w", err)
	}
	for range 500 {
		if c, err := net.Dial("unix", sock); err == nil {
			return c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("swtpm: does not answer on its socket")
}

// Restart powers the TPM off and on: its registers are reset, and the boot is
// not measured again.
func (t *TPM) Restart() error {
	t.stop()
	return t.start()
}

func (t *TPM) stop() {
	_ = t.cmd.Process.Signal(os.Interrupt)
	_ = t.cmd.Wait()
	_ = os.Remove(filepath.Join(t.dir, "sock"))
}

// Close stops the TPM and forgets it.
func (t *TPM) Close() {
	t.stop()
	_ = os.RemoveAll(t.dir)
}

// Extend extends a register as firmware does, in the banks given by their TCG
// algorithm numbers (TPM 2.0 Library Part 3, 22.2).
func (t *TPM) Extend(pcr int, digests map[uint16][]byte) error {
	algs := slices.Sorted(maps.Keys(digests))
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.BigEndian, v) }
	put(uint16(0x8002)) // with sessions
	put(uint32(0))      // size, below
	put(uint32(0x182))
	put(uint32(pcr))
	put([]byte{0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0}) // an empty password
	put(uint32(len(algs)))
	for _, a := range algs {
		put(a)
		put(digests[a])
	}
	command := b.Bytes()
	binary.BigEndian.PutUint32(command[2:], uint32(len(command)))
	c, err := net.Dial("unix", filepath.Join(t.dir, "sock"))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(command); err != nil {
		return err
	}
	head := make([]byte, 10)
	if _, err := io.ReadFull(c, head); err != nil {
		return err
	}
	if rc := binary.BigEndian.Uint32(head[6:]); rc != 0 {
		return fmt.Errorf("extend PCR %d: 0x%x", pcr, rc)
	}
	return nil
}
