package lab

import (
	"os"
	"path/filepath"
)

// arguments describes the machine: a two-socket server of a maker that does not
// exist, with network cards, drives behind an NVMe and a RAID controller, a PCIe
// switch, a USB controller with a keyboard, and a management controller.
func (m *Machine) arguments(medium, sock, serial string) []string {
	machine, global := "q35,accel=tcg,smm=off,smbios-entry-point-type=64", []string{}
	if m.Secure {
		machine = "q35,accel=tcg,smm=on,smbios-entry-point-type=64"
		global = []string{"-global", "driver=cfi.pflash01,property=secure,value=on"}
	}
	file := func(name string) string { return filepath.Join(m.Dir, name) }
	a := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", machine, "-cpu", "EPYC-Rome",
		"-smp", "2,sockets=2,cores=1,threads=1", "-m", "2048", "-global", "ICH9-LPC.disable_s3=1",
		"-uuid", "0a55a11b-1ab0-4c0d-8b0a-0c0ffee00042",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + m.Code, "-drive", "if=pflash,unit=1,format=raw,file=" + m.vars(),
		"-chardev", "socket,id=tpm,path=" + sock, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0",
		"-serial", "file:" + serial,
	}
	a = append(a, global...)
	a = append(a, m.smbios()...)
	for _, p := range []string{"rp1,addr=02.0,chassis=1,slot=1", "rp2,addr=03.0,chassis=2,slot=2", "rp3,addr=04.0,chassis=3,slot=3", "rp4,addr=05.0,chassis=4,slot=4", "rp5,addr=06.0,chassis=5,slot=5", "rp6,addr=07.0,chassis=6,slot=6"} {
		a = append(a, "-device", "pcie-root-port,bus=pcie.0,id="+p)
	}
	lan := ""
	if m.Net != "" {
		a = append(a, "-netdev", m.Net)
		lan = ",netdev=lan"
	}
	for _, d := range []string{
		"VGA,addr=01.0",
		"e1000e,id=nic1,bus=rp1,mac=ac:1f:6b:00:42:01,subsys_ven=0x15d9,subsys=0x1533" + lan,
		"megasas-gen2,id=raid,bus=rp3,romfile=,hba_serial=SV12345678,sas_address=0x5003048000001234",
		"x3130-upstream,id=switch,bus=rp4", "xio3130-downstream,id=down0,bus=switch,chassis=20,slot=20", "xio3130-downstream,id=down1,bus=switch,chassis=21,slot=21",
		"e1000e,id=nic2,bus=down0,romfile=,mac=ac:1f:6b:00:42:02,subsys_ven=0x15d9,subsys=0x1533",
		"nec-usb-xhci,id=xhci,bus=rp5", "usb-kbd,bus=xhci.0,port=1",
		"ipmi-bmc-sim,id=bmc,device_id=0x20,device_rev=1,fwrev1=1,fwrev2=0x74,mfg_id=10876,product_id=0x0969", "isa-ipmi-kcs,bmc=bmc,ioport=0xca2",
	} {
		a = append(a, "-device", d)
	}
	a = append(a,
		"-drive", "if=none,id=nv,format=raw,file="+file("nvme.img"), "-device", "nvme,bus=rp2,drive=nv,serial=S4EVNX0R000042",
		"-drive", "if=none,id=rd,format=raw,file="+file("raid.img"), "-device", "scsi-hd,bus=raid.0,drive=rd,vendor=SEAGATE,product=ST600MM0009,serial=W0M00042",
		"-drive", "if=none,id=stick,format=raw,file="+medium, "-device", "usb-storage,bus=xhci.0,port=2,drive=stick,serial=4C530001LAB,removable=on,bootindex=0",
	)
	for _, d := range m.Add {
		a = append(a, "-device", d)
	}
	return a
}

// smbios is what the firmware says about the machine (DMTF DSP0134).
func (m *Machine) smbios() []string {
	var a []string
	for _, s := range []string{
		"type=0,vendor=Assay Lab Firmware,version=3.2,date=10/22/2025,release=5.14,uefi=on",
		"type=1,manufacturer=" + Manufacturer + ",product=SYS-6029LAB,version=1.02,serial=S-LAB-0001,family=X11",
		"type=2,manufacturer=" + Manufacturer + ",product=X11LAB,version=1.02,serial=LB19AS0042",
		"type=3,manufacturer=" + Manufacturer + ",version=CSE-829,serial=C829LAB00001",
		"type=4,sock_pfx=CPU,manufacturer=AMD,version=AMD EPYC 7302 16-Core Processor,max-speed=3300,current-speed=3000",
		"type=17,loc_pfx=DIMM,bank=BANK,manufacturer=Micron,serial=12345678,part=18ASF2G72PDZ-2G9E1,speed=2933",
	} {
		a = append(a, "-smbios", s)
	}
	for i, s := range slots {
		name := filepath.Join(m.Dir, s.name+".smbios")
		if os.WriteFile(name, s.structure(i), 0o600) == nil {
			a = append(a, "-smbios", "file="+name)
		}
	}
	return a
}

// Manufacturer is the maker of every machine of the lab.
const Manufacturer = "Assay Lab Computer Inc."

// slot is a slot of the board, with the number of the root port that leads to
// it on the first bus.
type slot struct {
	name     string
	device   byte
	occupied bool
}

var slots = []slot{{"SLOT1", 0x02, true}, {"SLOT2", 0x03, true}, {"SLOT3", 0x04, true}, {"SLOT6", 0x07, false}}

// structure is a type 9 structure, system slot (DSP0134, 7.10).
func (s slot) structure(index int) []byte {
	usage := byte(3) // available
	if s.occupied {
		usage = 4
	}
	b := []byte{9, 0x11, byte(0x40 + index), 0x09, 1, 0xb5, 0x0d, usage, 3, byte(index + 1), 0, 0x0c, 0x01, 0, 0, 0, s.device << 3}
	return append(append(b, s.name...), 0, 0)
}
