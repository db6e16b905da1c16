package image

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// always are the modules that no device asks for by itself.
var always = []string{
	"efivarfs", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8", // own medium and EFI variables
	"sd_mod", "sr_mod", "sg", "usbhid", "hid_generic",
	"i2c_dev", "at24", "ee1004", "spd5118", // memory modules and other EEPROMs
	"ipmi_devintf", "ipmi_si", "ipmi_ssif",
	"mtd", "spi_nor",
	"msr", "cpuid",
}

// onDemand are the modules of which those are loaded whose devices are there.
var onDemand = []string{
	"xhci_pci", "xhci_hcd", "ehci_pci", "uhci_hcd", "ohci_pci", "usb_storage", "uas",
	"ahci", "libahci", "ata_piix", "nvme", "megaraid_sas", "mpt3sas", "smartpqi", "aacraid", "hpsa", "virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net", "virtio_rng",
	"e1000", "e1000e", "igb", "igc", "ixgbe", "i40e", "ice", "tg3", "bnx2x", "bnxt_en", "mlx4_core", "mlx4_en", "mlx5_core", "r8169", "qede", "qed", "sfc", "cxgb4", "be2net", "vmxnet3", "atlantic", "enic",
	"i2c_i801", "i2c_piix4", "i2c_designware_pci", "i2c_amd_mp2_pci",
	"spi_intel_pci", "spi_intel_platform", "intel_spi_pci", "intel_spi_platform", "lpc_ich",
	"tpm_tis_spi", "tpm_tis_i2c", "tpm_infineon", "tpm_nsc", "tpm_atmel", "tpm_crb", "tpm_tis",
	"mei_me", "hid_apple", "hid_logitech",
}

// modinfo is what a module says of itself.
type modinfo struct {
	depends []string
	aliases []string
}

// moduleName is the name under which the kernel knows a module's file.
func moduleName(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}

// modules is the tree of one kernel's modules.
type modules struct {
	files fs.FS
	paths map[string]string // file by module name
	info  map[string]modinfo
	data  map[string][]byte
}

func openModules(files fs.FS) (*modules, error) {
	m := &modules{files: files, paths: map[string]string{}, info: map[string]modinfo{}, data: map[string][]byte{}}
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path.Base(p), ".ko") {
			m.paths[moduleName(p)] = p
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	if len(m.paths) == 0 {
		return nil, errors.New("kernel modules: none found; give the modules of this kernel with --modules DIR")
	}
	return m, nil
}

// maxModule bounds one module's file, unpacked.
const maxModule = 64 << 20

func (m *modules) read(name string) ([]byte, error) {
	if b, ok := m.data[name]; ok {
		return b, nil
	}
	p := m.paths[name]
	b, err := fs.ReadFile(m.files, p)
	if err != nil {
		return nil, err
	}
	var r io.Reader
	switch path.Ext(p) {
	case ".xz":
		r, err = xz.NewReader(bytes.NewReader(b))
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1)); err == nil {
			defer z.Close()
			r = z
		}
	}
	if err == nil && r != nil {
		b, err = io.ReadAll(io.LimitReader(r, maxModule+1))
	}
	if err == nil && len(b) > maxModule {
		err = fmt.Errorf("has more than %d bytes", maxModule)
	}
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", p, err)
	}
	m.data[name] = b
	return b, nil
}

// about reads a module's .modinfo section.
func (m *modules) about(name string) (modinfo, error) {
	if i, ok := m.info[name]; ok {
		return i, nil
	}
	b, err := m.read(name)
	if err != nil {
		return modinfo{}, err
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return modinfo{}, fmt.Errorf("module %s: %w", name, err)
	}
	s := f.Section(".modinfo")
	if s == nil {
		return modinfo{}, fmt.Errorf("module %s: no .modinfo section", name)
	}
	text, err := s.Data()
	if err != nil {
		return modinfo{}, fmt.Errorf("module %s: %w", name, err)
	}
	var i modinfo
	for line := range strings.SplitSeq(string(text), "\x00") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "depends":
			for d := range strings.SplitSeq(value, ",") {
				if d != "" {
					i.depends = append(i.depends, strings.ReplaceAll(d, "-", "_"))
				}
			}
		case "softdep":
			for d := range strings.FieldsSeq(value) {
				if !strings.HasSuffix(d, ":") {
					i.depends = append(i.depends, strings.ReplaceAll(d, "-", "_"))
				}
			}
		case "alias":
			i.aliases = append(i.aliases, value)
		}
	}
	m.info[name] = i
	return i, nil
}

// plan is which modules go into an image and how they are loaded. Its text is
// what the scanner reads.
type plan struct {
	names  []string
	absent []string // wanted, and neither a file nor needed
	lines  []string
}

// choose takes the modules and whatever they need.
func (m *modules) choose() (*plan, error) {
	p := &plan{}
	taken := map[string]bool{}
	var take func(name string) error
	take = func(name string) error {
		if taken[name] || m.paths[name] == "" {
			return nil
		}
		taken[name] = true
		i, err := m.about(name)
		if err != nil {
			return err
		}
		var needs []string
		for _, d := range i.depends {
			if err := take(d); err != nil {
				return err
			}
			if taken[d] {
				needs = append(needs, d)
			}
		}
		p.names = append(p.names, name)
		if len(needs) > 0 {
			p.lines = append(p.lines, "needs "+name+" "+strings.Join(needs, " "))
		}
		return nil
	}
	for _, n := range slices.Concat(always, onDemand) {
		if m.paths[n] == "" {
			p.absent = append(p.absent, n)
			continue
		}
		if err := take(n); err != nil {
			return nil, err
		}
		if slices.Contains(always, n) {
			p.lines = append(p.lines, "always "+n)
			continue
		}
		for _, a := range m.info[n].aliases {
			if !strings.ContainsAny(a, " \t") {
				p.lines = append(p.lines, "alias "+a+" "+n)
			}
		}
	}
	slices.Sort(p.names)
	slices.SortFunc(p.lines, func(a, b string) int { return cmp.Compare(a, b) })
	return p, nil
}
