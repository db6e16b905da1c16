package collect

import "regexp"

const spiDir = "sys/bus/spi/devices"

var spiDevice = regexp.MustCompile(`^spi\d+\.\d+$`)

// chips reads what kernel drivers learned of flash chips when they bound them,
// and which devices they made of them. No chip is asked again.
func chips(t *task) {
	for _, n := range t.list(spiDir) {
		dir := spiDir + "/" + n
		if !spiDevice.MatchString(n) || t.over(dir) {
			continue
		}
		t.attributes(dir, nil, []string{"modalias"})
		t.resolved(dir)
		if t.host.has(dir + "/spi-nor") {
			t.attributes(dir+"/spi-nor", nil, []string{"jedec_id", "manufacturer", "partname", "sfdp"})
		}
	}
	if !t.host.has(mtdDir) {
		return
	}
	for _, n := range t.list(mtdDir) {
		if dir := mtdDir + "/" + n; mtdName.MatchString(n) && !t.over(dir) {
			t.attributes(dir, nil, []string{"name", "size", "type"})
			t.resolved(dir)
		}
	}
}
