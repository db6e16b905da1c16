package collect

import "strings"

const usbDir = "sys/bus/usb/devices"

// usb reads devices and root hubs; interfaces ("1-1:1.0") are in the
// descriptors of their device.
func usb(t *task) {
	for _, n := range t.list(usbDir) {
		dir := usbDir + "/" + n
		if strings.Contains(n, ":") || t.over(dir) {
			continue
		}
		t.attributes(dir, []string{"idVendor", "idProduct"}, []string{"bcdDevice", "bDeviceClass", "manufacturer", "product", "serial", "removable", "descriptors"})
		t.resolved(dir)
	}
}
