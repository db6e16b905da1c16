package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware"
)

const (
	dmiPath     = "sys/firmware/dmi/tables/DMI"
	treePath    = "sys/firmware/devicetree/base"
	efiPath     = "sys/firmware/efi/efivars"
	logPath     = "sys/kernel/security/tpm0/binary_bios_measurements"
	imaPath     = "sys/kernel/security/ima/binary_runtime_measurements"
	security    = "sys/kernel/security"
	propsPath   = "tpm/properties.json"
	quotePath   = "tpm/quote-sha256.attest"
	devicePath  = "ipmi/device-id.bin"
	pciDevices  = "sys/bus/pci/devices"
	asRoot      = "Run it as root: sudo assay doctor, sudo assay scan."
	fromTheTree = "" // nothing can be done about a tree that was captured
)

// checks are all that a diagnosis looks at, in the order of reports.
var checks = []struct {
	name, about string
	look        func(*patient) Check
}{
	{"rights", "who scans: serial numbers, registers and measurements are for root", rights},
	{"machine", "what the system runs on: a hypervisor or container shows what it wants to", machine},
	{"lockdown", "what the kernel closes even to root: memory of the flash, option ROMs", lockdown},
	{"identity", "SMBIOS or device tree: maker, model, serial number, modules and slots", identity},
	{"pci", "configuration space of PCI functions, whole: serial numbers and capabilities lie behind the first 64 bytes", pci},
	{"option ROMs", "code that cards bring and firmware runs", optionROMs},
	{"memory", "what the modules say of themselves (SPD), against what firmware says of them", memory},
	{"drives", "what drives answer: serial numbers, firmware", drives},
	{"usb", "USB devices, the cheapest place to add one", usb},
	{"controller", "the management controller over IPMI: its version and the FRU stores of boards", controller},
	{"tpm", "the TPM: who it is, and its quote over boot and inventory", tpm},
	{"certificate", "the TPM maker's certificate for its key", certificate},
	{"event log", "what was measured at boot, event by event", eventLog},
	{"efi", "EFI variables: Secure Boot keys, boot order", efi},
	{"ima", "what the running system measured of itself", ima},
	{"flash", "the image of the boot flash, byte by byte", flash},
}

// why tells what became of an artefact that is not there.
func (p *patient) why(name string) string {
	a, listed := p.b.Artifact(name)
	switch {
	case !listed:
		return "it is not in the evidence, and nothing says why"
	case a.Reason == "":
		return string(a.Status)
	}
	return string(a.Status) + ": " + a.Reason
}

func (p *patient) denied(name string) bool {
	a, listed := p.b.Artifact(name)
	return listed && a.Status == evidence.Denied
}

// missing is a source of which nothing was read. As an ordinary user the first thing to
// change is that.
func (p *patient) missing(name, step string) Check {
	c := Check{State: Missing, Why: p.why(name), Step: step}
	if p.denied(name) && !p.index.Mode.Root {
		c.Step = asRoot
	}
	return c
}

func rights(p *patient) Check {
	switch {
	case p.b.Index() == nil:
		return Check{State: Partial, Found: "a tree without an index", Why: "who captured it, and what was denied to them, is not written down", Step: "Take evidence with assay scan."}
	case p.index.Mode.Root:
		return Check{State: Ready, Found: "root"}
	}
	return Check{State: Partial, Found: "an ordinary user", Why: "much is denied to others than root", Step: asRoot}
}

func machine(p *patient) Check {
	if c := p.host.container(); c != "" {
		return Check{State: Partial, Found: "a container (" + c + ")", Why: "it shows a part of the machine's files and devices", Step: "Run it on the machine itself, outside of containers."}
	}
	if p.inv.Virtual != "" {
		return Check{State: Partial, Found: "a virtual machine: " + p.inv.Virtual, Why: "every part and register can be made up by the hypervisor", Step: "Run it on the hardware. A manifest of a virtual machine says that it is one."}
	}
	if p.index.Mode.Image != "" {
		return Check{State: Ready, Found: "started from the scanner " + p.index.Mode.Image}
	}
	return Check{State: Ready, Found: "nothing shows a hypervisor or a container"}
}

func lockdown(p *patient) Check {
	mode := p.index.Mode.Lockdown
	switch mode {
	case "none":
		return Check{State: Ready, Found: "kernel lockdown is off"}
	case "":
		return Check{State: Partial, Why: "the kernel does not show whether lockdown is on"}
	}
	return Check{
		State: Partial, Found: "kernel lockdown: " + mode, Why: "the flash window and option ROMs are closed, to root too",
		Step: "Leave it on: it protects the machine. Boot the scanner stick (assay image build) to read what is closed here.",
	}
}

func (p *patient) locked() bool {
	return p.index.Mode.Lockdown != "" && p.index.Mode.Lockdown != "none"
}

func identity(p *patient) Check {
	id, known := p.inv.Machine()
	name := strings.TrimSpace(id.Maker + " " + id.Model)
	switch {
	case p.b.Has(dmiPath):
		if id.Serial == "" {
			return Check{State: Partial, Found: name, Why: "no serial number of the machine", Step: asRoot}
		}
		return Check{State: Ready, Found: name + ", serial " + id.Serial}
	case known:
		return Check{State: Partial, Found: name, Why: "told by the device tree, which has no list of modules and slots"}
	}
	return p.missing(dmiPath, "Run it on the machine itself; a kernel without CONFIG_DMI shows no tables.")
}

func pci(p *patient) Check {
	all := p.b.Dir(pciDevices)
	if len(all) == 0 {
		return p.missing(pciDevices, "Run it on the machine itself, with /sys mounted.")
	}
	short := 0
	for _, f := range all {
		if a, ok := p.b.Artifact(pciDevices + "/" + f + "/config"); !ok || a.Size <= 64 {
			short++
		}
	}
	c := Check{State: Ready, Found: count(len(all), "function")}
	if short > 0 {
		c.State, c.Why, c.Step = Partial, fmt.Sprintf("of %d only the first 64 bytes, or nothing", short), asRoot
		if p.index.Mode.Root {
			c.Step = fromTheTree
		}
	}
	return c
}

func optionROMs(p *patient) Check {
	read, refused := 0, 0
	for _, f := range p.b.Dir(pciDevices) {
		name := pciDevices + "/" + f + "/rom"
		switch a, listed := p.b.Artifact(name); {
		case p.b.Has(name):
			read++
		case listed && a.Status == evidence.Denied:
			refused++
		}
	}
	c := Check{State: Ready, Found: count(read, "option ROM") + " read"}
	if refused > 0 {
		c.State, c.Why = OnRequest, count(refused, "device")+" may have one: reading means to enable it for a moment"
		c.Step = "Ask for it: assay scan --rom (--rom=bound also where a driver uses the device)."
		if p.locked() {
			c.State, c.Step = Missing, "Boot the scanner stick, which reads them before any driver is loaded."
		}
	}
	return c
}

func memory(p *patient) Check {
	spd := len(p.b.Glob("sys/bus/i2c/devices/*/eeprom"))
	modules := len(p.inv.ByClass(bom.Memory))
	switch {
	case spd > 0 && spd >= modules:
		return Check{State: Ready, Found: count(spd, "SPD") + " for " + count(modules, "module")}
	case spd > 0:
		return Check{State: Partial, Found: count(spd, "SPD") + " for " + count(modules, "module"), Why: "some modules answer on a bus of the management controller, or on none", Step: p.host.load("SPD", "ee1004", "spd5118", "at24")}
	case modules > 0:
		step := p.host.load("SPD (DDR4, DDR5, others)", "ee1004", "spd5118", "at24")
		if step == "" {
			step = "The bus of the modules is not the processor's, or has no driver (i2c-i801, i2c-piix4, i2c-designware); the management controller may tell: --redfish."
		}
		return Check{State: Partial, Found: count(modules, "module") + " by firmware alone", Why: "no SPD: firmware's word is not held against the modules'", Step: step}
	}
	return Check{State: Missing, Why: "neither SMBIOS nor an SPD names a module", Step: asRootUnless(p)}
}

func asRootUnless(p *patient) string {
	if p.index.Mode.Root {
		return "Run it on the machine itself."
	}
	return asRoot
}

func drives(p *patient) Check {
	parts := p.inv.ByClass(bom.Storage)
	bare := 0
	for i := range parts {
		if parts[i].Identity.Serial == "" {
			bare++
		}
	}
	c := Check{State: Ready, Found: count(len(parts), "drive")}
	switch {
	case len(parts) == 0 && !p.inv.Classes[bom.Storage].Observed:
		return Check{State: Missing, Why: "the system lists none", Step: "Run it on the machine itself, with the drivers of its controllers."}
	case !p.inv.Classes[bom.Storage].Whole:
		c.State, c.Why = Partial, cmp.Or(p.inv.Classes[bom.Storage].Reason, "nothing says that these are all")
	case bare > 0:
		c.State, c.Why, c.Step = Partial, fmt.Sprintf("%d without a serial number", bare), asRootUnless(p)
		if p.index.Mode.Root {
			c.Step = fromTheTree
		}
	}
	return c
}

func usb(p *patient) Check {
	if n := len(p.b.Dir("sys/bus/usb/devices")); n > 0 {
		return Check{State: Ready, Found: count(n, "device") + ", hubs included"}
	}
	return p.missing("sys/bus/usb/devices", p.host.load("USB", "xhci_pci"))
}

func controller(p *patient) Check {
	if p.b.Has(devicePath) {
		return Check{State: Ready, Found: "answers IPMI, " + count(len(p.b.Glob("ipmi/fru-*.bin")), "FRU store")}
	}
	if redfish := p.b.Dir("redfish"); len(redfish) > 0 {
		return Check{State: Partial, Found: "Redfish of " + strings.Join(redfish, ", "), Why: "IPMI: " + p.why(devicePath), Step: p.host.load("IPMI", "ipmi_si", "ipmi_ssif")}
	}
	step := p.host.load("IPMI", "ipmi_devintf", "ipmi_si", "ipmi_ssif")
	if step == "" {
		step = "The driver runs and no controller answers: this machine has none, or asks it over the network: --redfish https://CONTROLLER."
	}
	return p.missing(devicePath, step)
}

func tpm(p *patient) Check {
	switch {
	case p.boot.Quoted:
		c := Check{State: Ready, Found: "quotes PCR 0 to 7 in " + p.boot.Bank}
		if !p.boot.Sealed && p.b.Sealed() {
			c.State, c.Why, c.Step = Partial, "the quote does not cover this inventory", "Scan again with assay scan."
		}
		return c
	case p.b.Has(quotePath) || len(p.b.Glob("tpm/quote-*.attest")) > 0:
		why := "its quote does not hold"
		for _, f := range p.boot.Findings {
			if strings.HasPrefix(string(f.Code), "TP-") {
				why = string(f.Code) + ": " + f.Title
				break
			}
		}
		return Check{State: Partial, Found: "quotes", Why: why, Step: "assay attest verify tells more; assay explain tells what a code means."}
	case p.host.has("dev/tpm0") || p.host.has("sys/class/tpm/tpm0"):
		c := p.missing(propsPath, "Let the scan have /dev/tpmrm0: as root, or as a member of the group that owns it (tss).")
		if v := strings.TrimSpace(p.host.text("sys/class/tpm/tpm0/tpm_version_major")); v == "1" {
			c.Why, c.Step = "it is a TPM 1.2", "Nothing can be done here: measurements need a TPM 2.0."
		}
		return c
	}
	step := p.host.load("the TPM", "tpm_tis", "tpm_crb", "tpm_ftpm_tee")
	if step == "" {
		step = "Switch the TPM on in the firmware's setup (Security, Trusted Computing), or ask the vendor whether the board has one."
	}
	return p.missing(propsPath, step)
}

func certificate(p *patient) Check {
	if n := len(p.b.Glob("tpm/ek-*.crt")); n > 0 {
		return Check{State: Ready, Found: count(n, "certificate")}
	}
	if !p.b.Has(propsPath) {
		return Check{State: Missing, Why: "no TPM answered"}
	}
	return Check{
		State: Missing, Why: "the TPM keeps none",
		Step: "Enrol the TPM while the machine is known to be good (assay attest enroll), or pin its keys with a manifest of this machine.",
	}
}

func eventLog(p *patient) Check {
	if !p.b.Has(logPath) {
		switch {
		case p.host.here() && p.host.empty(security):
			return p.missing(logPath, "Mount it: sudo mount -t securityfs none /sys/kernel/security.")
		case p.host.has("sys/class/tpm/tpm0"):
			return p.missing(logPath, "The firmware handed no log to the kernel: boot by UEFI, with a kernel that keeps it (CONFIG_TCG_TPM, no kexec in between).")
		}
		return p.missing(logPath, "It comes with a TPM that firmware and kernel use.")
	}
	bad := 0
	for _, r := range p.boot.PCRs {
		if r.Bank == p.boot.Bank && r.Result == attest.Unexplained {
			bad++
		}
	}
	switch {
	case p.boot.LogMatches:
		return Check{State: Ready, Found: "explains what the TPM signed"}
	case bad > 0:
		return Check{State: Partial, Found: "there", Why: fmt.Sprintf("it does not explain %s", count(bad, "register")), Step: "assay attest eventlog --pcrs shows which; after a suspend or kexec, start the machine anew."}
	}
	return Check{State: Partial, Found: "there", Why: "no signed registers to hold it against"}
}

func efi(p *patient) Check {
	if n := len(p.b.Dir(efiPath)); n > 0 {
		return Check{State: Ready, Found: count(n, "variable")}
	}
	if p.host.empty(efiPath) {
		return p.missing(efiPath, "Mount them: sudo mount -t efivarfs none /sys/firmware/efi/efivars.")
	}
	if p.b.Has(treePath + "/compatible") {
		return p.missing(efiPath, "This board does not start by UEFI.")
	}
	return p.missing(efiPath, "Start the system by UEFI; one started by a legacy BIOS has none.")
}

func ima(p *patient) Check {
	if p.b.Has(imaPath) {
		return Check{State: Ready, Found: "there"}
	}
	return p.missing(imaPath, "Optional: a kernel with an IMA policy (ima_policy=tcb) keeps it.")
}

const hostImage = "bios"

// flash says whether the image of the boot flash could be read: a scan does so only
// when it is asked, since it takes seconds to minutes.
func flash(p *patient) Check {
	var read, broken []string
	for _, m := range firmware.Read(p.b) {
		if !p.b.Has(m.Artifact) {
			continue // the reasons below are about this
		}
		if m.Reason == "" {
			read = append(read, m.Name)
			continue
		}
		broken = append(broken, m.Name+": "+m.Reason)
	}
	const ask = "Ask for it: assay scan --with firmware."
	devices, _ := p.host.list("sys/class/mtd")
	switch {
	case slices.Contains(read, hostImage) && len(broken) == 0:
		return Check{State: Ready, Found: strings.Join(read, ", ")}
	case len(read)+len(broken) > 0:
		return Check{State: Partial, Found: strings.Join(read, ", "), Why: cmp.Or(strings.Join(broken, "; "), "no image of the host's firmware ("+hostImage+")"), Step: "Read it again, whole: assay scan --with firmware, or a clip on the chip."}
	case len(devices) > 0 && p.index.Mode.Root:
		return Check{State: OnRequest, Found: "a driver holds the flash: " + strings.Join(devices, ", "), Step: ask}
	case p.host.here() && p.index.Mode.Root && !p.locked() && p.host.has("dev/mem") && p.host.container() == "":
		return Check{State: OnRequest, Found: "the 16 MiB below 4 GiB, where chipsets map the flash", Why: "a larger flash is not mapped whole", Step: ask}
	case !p.index.Mode.Root:
		return Check{State: Missing, Why: "for root alone", Step: asRoot}
	}
	return Check{State: Missing, Why: "no driver holds the flash, and the window to it is closed", Step: "Load its driver (spi_intel_pci, and spi-nor), boot the scanner stick, or read the chip with a clip and put the dump beside the evidence as firmware/bios.rom."}
}

// count says how many of something there are.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
