package bom

// Addresses of PCI functions as Linux writes them: "0000:00:1f.2", with a domain of
// four to eight digits.

// addressTail is what stands behind the domain.
const addressTail = len(":00:1f.2")

// pciAddress cuts an address into its bus, "0000:00", and the rest, "1f.2".
func pciAddress(s string) (bus, devfn string, ok bool) {
	domain := len(s) - addressTail
	if domain < 4 || domain > 8 || hexRun(s[:domain]) != domain || !isTail(s[domain:]) {
		return "", "", false
	}
	return s[:domain+3], s[domain+4:], true
}

// pciAddresses finds every address in a path, in order.
func pciAddresses(path string) []string {
	var out []string
	for i := 0; i+addressTail <= len(path); i++ {
		if path[i] != ':' || !isTail(path[i:i+addressTail]) {
			continue
		}
		domain := min(hexRun(path[:i]), 8)
		if domain < 4 {
			continue
		}
		end := i + addressTail
		if out == nil {
			out = make([]string, 0, 4)
		}
		out = append(out, path[i-domain:end])
		// What was found is not part of the next one.
		path, i = path[end:], -1
	}
	return out
}

// isTail matches bus, device and function.
func isTail(s string) bool {
	return s[0] == ':' && hexRun(s[1:3]) == 2 && s[3] == ':' && hexRun(s[4:6]) == 2 && s[6] == '.' && s[7] >= '0' && s[7] <= '7'
}

// hexRun counts the digits at the end of a text.
func hexRun(s string) int {
	n := 0
	for n < len(s) {
		if c := s[len(s)-1-n]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			break
		}
		n++
	}
	return n
}
