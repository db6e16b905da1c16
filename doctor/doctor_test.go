package doctor

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/fixture"
)

var then = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)

// recorded is the machine of the lab, without what lies below some paths.
func recorded(t *testing.T, without ...string) map[string][]byte {
	t.Helper()
	files, err := fixture.Machine("..", "baseline")
	require.NoError(t, err)
	maps.DeleteFunc(files, func(name string, _ []byte) bool {
		for _, w := range without {
			if strings.HasPrefix(name, w) {
				return true
			}
		}
		return false
	})
	return files
}

func diagnose(t *testing.T, files map[string][]byte, host fstest.MapFS) *Diagnosis {
	t.Helper()
	b, err := evidence.FromFiles(files, "machine", evidence.Limits{})
	require.NoError(t, err)
	if host == nil {
		return Diagnose(b, nil, nil, then)
	}
	return Diagnose(b, host, nil, then)
}

func (d *Diagnosis) of(t *testing.T, name string) Check {
	t.Helper()
	for _, c := range d.Checks {
		if c.Name == name {
			return c
		}
	}
	require.Fail(t, "no check "+name)
	return Check{}
}

// The level is that of docs/trust.md: what is missing lowers it, and is named.
func TestLevels(t *testing.T) {
	for name, c := range map[string]struct {
		without []string
		level   string
		missing []string
	}{
		"all":            {nil, "L4", []string{"controller"}},
		"no image":       {[]string{"firmware/"}, "L3", []string{"flash"}},
		"no log":         {[]string{"sys/kernel/security/tpm0"}, "L2", []string{"event log"}},
		"no quote":       {[]string{"tpm/quote-"}, "L2", []string{"tpm"}},
		"no key":         {[]string{"tpm/ak.pub"}, "L2", nil},
		"no TPM":         {[]string{"tpm/", "sys/class/tpm", "sys/kernel/security/tpm0"}, "L2", []string{"tpm", "certificate", "event log"}},
		"documents only": {[]string{"tpm/", "sys/bus", "sys/firmware", "sys/class", "sys/kernel", "proc/"}, "L0", []string{"pci", "identity", "usb", "efi", "memory"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := diagnose(t, recorded(t, c.without...), nil)
			assert.Equal(t, c.level, d.Level)
			assert.LessOrEqual(t, d.Level, d.Reachable)
			for _, m := range c.missing {
				assert.Equal(t, Missing, d.of(t, m).State, m)
			}
		})
	}
}

// An image that was not read whole, or of another part than the host's flash, is not
// what L4 needs.
func TestHalfAnImageIsNone(t *testing.T) {
	for name, change := range map[string]func(map[string][]byte){
		"not whole": func(f map[string][]byte) {
			f["firmware/bios.json"] = []byte(`{"source":"/dev/mtd0ro","offset":0,"length":4194304,"complete":false}`)
		},
		"not the host's": func(f map[string][]byte) {
			f["firmware/nic.rom"] = f["firmware/bios.rom"]
			delete(f, "firmware/bios.rom")
		},
	} {
		files := recorded(t)
		change(files)
		d := diagnose(t, files, nil)
		assert.Equal(t, "L3", d.Level, name)
		assert.Equal(t, Partial, d.of(t, "flash").State, name)
	}
}

// A controller's documents alone are L1.
func TestControllerAlone(t *testing.T) {
	assert.Equal(t, "L1", diagnose(t, map[string][]byte{"redfish/bmc/redfish/v1/index.json": []byte("{}")}, nil).Level)
}

// Whatever is taken away, the level never rises, and no check becomes better.
func TestMissingEvidenceNeverHelps(t *testing.T) {
	whole := diagnose(t, recorded(t), nil)
	rank := map[State]int{Ready: 3, OnRequest: 2, Partial: 1, Missing: 0}
	for _, w := range []string{"tpm/", "tpm/pcrs.json", "sys/bus/pci", "sys/bus/usb", "sys/bus/i2c", "sys/class/nvme", "sys/class/block", "sys/firmware/dmi", "sys/firmware/efi", "proc/cpuinfo", "firmware/"} {
		d := diagnose(t, recorded(t, w), nil)
		assert.LessOrEqual(t, d.Level, whole.Level, w)
		for i, c := range d.Checks {
			if c.Name != "machine" { // what tells of a hypervisor can be taken away: that is no proof of hardware
				assert.LessOrEqual(t, rank[c.State], rank[whole.Checks[i].State], "%s without %s", c.Name, w)
			}
		}
	}
}

// The next step is about this machine: which of its drivers can be loaded, what is not
// mounted, what it is.
func TestSteps(t *testing.T) {
	const dep = "kernel/drivers/char/ipmi/ipmi_si.ko.zst: kernel/drivers/char/ipmi/ipmi_msghandler.ko.zst\nkernel/drivers/hwmon/spd5118.ko.xz:\n"
	system := func(more fstest.MapFS) fstest.MapFS {
		m := fstest.MapFS{
			"proc/version":                        {Data: []byte("Linux version 6.1.0-amd64 (gcc)\n")},
			"lib/modules/6.1.0-amd64/modules.dep": {Data: []byte(dep)},
		}
		maps.Copy(m, more)
		return m
	}
	noTPM := []string{"tpm/", "sys/class/tpm", "sys/kernel/security"}
	for name, c := range map[string]struct {
		without []string
		host    fstest.MapFS
		check   string
		step    string
	}{
		"driver can be loaded":    {nil, system(nil), "controller", "sudo modprobe ipmi_si"},
		"driver runs":             {nil, system(fstest.MapFS{"sys/module/ipmi_si/x": {}}), "controller", "no controller answers"},
		"SPD driver":              {[]string{"sys/bus/i2c"}, system(nil), "memory", "sudo modprobe spd5118"},
		"SPD driver runs":         {[]string{"sys/bus/i2c"}, system(fstest.MapFS{"sys/module/spd5118/x": {}}), "memory", "--redfish"},
		"no driver for the TPM":   {noTPM, system(nil), "tpm", "This kernel has no driver for the TPM"},
		"TPM off":                 {noTPM, system(fstest.MapFS{"lib/modules/6.1.0-amd64/modules.builtin": {Data: []byte("kernel/drivers/char/tpm/tpm_tis.ko\n")}}), "tpm", "firmware's setup"},
		"TPM 1.2":                 {noTPM, system(fstest.MapFS{"sys/class/tpm/tpm0/tpm_version_major": {Data: []byte("1\n")}}), "tpm", "need a TPM 2.0"},
		"TPM of another group":    {noTPM, system(fstest.MapFS{"dev/tpm0": {}}), "tpm", "/dev/tpmrm0"},
		"securityfs":              {noTPM, system(fstest.MapFS{"sys/kernel/security": {Mode: 0o755 | 1<<31}}), "event log", "mount -t securityfs"},
		"efivarfs":                {[]string{"sys/firmware/efi"}, system(fstest.MapFS{"sys/firmware/efi/efivars": {Mode: 0o755 | 1<<31}}), "efi", "mount -t efivarfs"},
		"container":               {nil, system(fstest.MapFS{".dockerenv": {}}), "machine", "outside of containers"},
		"nothing known of it all": {nil, nil, "controller", "Load the driver for IPMI"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Contains(t, diagnose(t, recorded(t, c.without...), c.host).of(t, c.check).Step, c.step)
		})
	}
}

// What a hostile tree says of itself is text and nothing else.
func FuzzDiagnose(f *testing.F) {
	f.Add("sys/firmware/dmi/tables/DMI", []byte{1, 4, 0, 0}, "Linux version x y")
	f.Add("tpm/quote-sha256.attest", []byte("\xffTCG"), "")
	f.Fuzz(func(t *testing.T, name string, data []byte, version string) {
		b, err := evidence.FromFiles(map[string][]byte{name: data, "proc/uptime": []byte("1 1")}, "fuzz", evidence.Limits{})
		if err != nil {
			return
		}
		d := Diagnose(b, fstest.MapFS{"proc/version": {Data: []byte(version)}}, nil, then)
		require.Contains(t, []string{"L0", "L2"}, d.Level)
	})
}
