package bom

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/sfdp"
)

const spiDevices = "sys/bus/spi/devices"

var jedecID = regexp.MustCompile(`^[0-9a-f]{6,20}$`)

// flashChips reads the flash chips that a driver bound. Chips behind a
// management controller, or without a driver, are on no list.
func (r *reader) flashChips() {
	for _, name := range r.b.Dir(spiDevices) {
		dir := spiDevices + "/" + name + "/spi-nor"
		id, table := r.b.Text(dir+"/jedec_id"), dir+"/sfdp"
		if !jedecID.MatchString(id) && !r.b.Has(table) {
			if id != "" {
				r.problem(dir+"/jedec_id", 0, "not a JEDEC id in hexadecimal")
			}
			continue
		}
		r.seen(Flash, false, "only flash chips that a driver bound are listed", finding.SiliconAnswered)
		p := r.add(Part{Class: Flash, Subject: "flash:" + name, Location: finding.Location{Path: "spi/" + name}})
		o := r.whole(finding.SiliconAnswered, "spi-nor", dir+"/jedec_id")
		p.set("model", &p.Identity.Model, id, o)
		p.set("partNumber", &p.Identity.PartNumber, r.b.Text(dir+"/partname"), r.whole(finding.SiliconAnswered, "spi-nor", dir+"/partname"))
		// The registry is no help: flash makers use the numbers of others (ef is
		// NEXCOM's there, and Winbond's in every chip).
		p.Identity.Name = ids.Clean(r.b.Text(dir + "/manufacturer"))
		r.flashParameters(p, table, name)
	}
}

// flashParameters reads what a chip says of its geometry, and holds the devices
// that the kernel made of the chip against it.
func (r *reader) flashParameters(p *Part, table, chip string) {
	data, err := r.b.Read(table)
	if err != nil {
		return
	}
	o := r.whole(finding.SiliconAnswered, "sfdp", table)
	p.fact(attrParameters, r.b.SHA256(table), o)
	t, err := sfdp.Parse(data)
	if err != nil {
		r.problem(table, 0, err.Error())
		return
	}
	for _, x := range t.Problems {
		r.problem(table, x.Offset, x.What)
	}
	if t.Size == 0 {
		return
	}
	p.fact("bytes", strconv.FormatUint(t.Size, 10), o)
	if r.partitions == nil {
		r.partitions = r.flashPartitions()
	}
	for _, x := range r.partitions[chip] {
		if x.size > t.Size {
			r.contradiction(finding.FlashPartDiffers, p, fmt.Sprintf("at most %d bytes", t.Size), fmt.Sprintf("%s of %d bytes", x.name, x.size),
				"The kernel uses more of the flash chip than the chip says it has.", finding.Medium, o, r.whole(finding.FirmwareTold, "mtd", mtdDir+"/"+x.name+"/size"))
		}
	}
}

const mtdDir = "sys/class/mtd"

// partition is a device that the kernel made of a flash chip.
type partition struct {
	name string
	size uint64
}

// flashPartitions lists them by their chip, which their path names.
func (r *reader) flashPartitions() map[string][]partition {
	out := map[string][]partition{}
	for _, n := range r.b.Dir(mtdDir) {
		size, err := strconv.ParseUint(r.b.Attribute(mtdDir+"/"+n, "size"), 10, 64)
		if err != nil {
			continue
		}
		front, _, ok := strings.Cut(r.b.Attribute(mtdDir+"/"+n, "path"), "/mtd/")
		if at := strings.LastIndexByte(front, '/'); ok && at >= 0 {
			out[front[at+1:]] = append(out[front[at+1:]], partition{n, size})
		}
	}
	return out
}
