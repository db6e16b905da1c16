package board

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ipc is a document as design tools write it, with approved makers and positions.
const ipc = `<?xml version="1.0" encoding="UTF-8"?>
<IPC-2581 revision="C" xmlns="http://webstds.ipc.org/2581">
 <LogisticHeader><Enterprise id="E1" name="Winbond" code="W"/><Enterprise id="E2" code="Macronix"/></LogisticHeader>
 <Bom name="b"><BomHeader assembly="a" revision="1.0"/>
  <BomItem OEMDesignNumberRef="HOUSE-1" quantity="2" category="ELECTRICAL">
   <RefDes name="U1" packageRef="SOIC8" populate="true" layerRef="TOP"/><RefDes name="U2" packageRef="SOIC8" populate="false" layerRef="BOTTOM"/>
  </BomItem>
  <BomItem OEMDesignNumberRef="CAP-10NF" quantity="3"><RefDes name="C1" packageRef="SMC0402" layerRef="TOP"/>
   <Characteristics><Textual textualCharacteristicName="VALUE" textualCharacteristicValue="10NF"/></Characteristics></BomItem>
  <BomItem OEMDesignNumberRef="LABEL" quantity="1" category="DOCUMENT"/>
 </Bom>
 <Avl name="v"><AvlItem OEMDesignNumber="HOUSE-1">
  <AvlVmpn qualified="true" chosen="false"><AvlMpn name="MX25L25645" rank="1"/><AvlVendor enterpriseRef="E2"/></AvlVmpn>
  <AvlVmpn qualified="true" chosen="true"><AvlMpn name="W25Q256JV" rank="2"/><AvlVendor enterpriseRef="E1"/></AvlVmpn>
 </AvlItem></Avl>
 <Ecad name="d"><CadData><Step name="s"><Component refDes="U1" packageRef="SOIC8" layerRef="TOP"><Location x="1.5" y="-2.25"/></Component></Step></CadData></Ecad>
</IPC-2581>`

func TestIPC2581(t *testing.T) {
	b, err := Read("board.xml", []byte(ipc), nil)
	require.NoError(t, err)
	require.Len(t, b.Parts, 3)
	c, u1, u2 := b.Parts[0], b.Parts[1], b.Parts[2]
	require.Equal(t, Part{Designator: "C1", PartNumber: "CAP-10NF", Value: "10NF", Footprint: "SMC0402", Layer: "TOP", Row: c.Row}, c)
	require.Equal(t, Part{Designator: "U1", Maker: "Winbond", PartNumber: "W25Q256JV", Footprint: "SOIC8", Layer: "TOP", X: 1.5, Y: -2.25, Row: u1.Row}, u1, "the approved part that was chosen")
	require.True(t, u2.NotFitted)
	require.Len(t, b.Loose, 1)
	require.Empty(t, b.Lost)
	require.Equal(t, map[string][]Alternate{"U1": {{Maker: "Macronix", PartNumber: "MX25L25645"}}, "U2": {{Maker: "Macronix", PartNumber: "MX25L25645"}}}, b.Alternates)
	require.Equal(t, "a", b.Assembly)
	require.Equal(t, "1.0", b.Revision)
	require.Len(t, b.Warnings, 1)
	require.Contains(t, b.Warnings[0].Why, "the quantity is 3, 1 places are named")
	require.Equal(t, 1, b.Coverage().Identity)
	other, err := Read("next.xml", []byte(strings.Replace(ipc, `chosen="true"`, `chosen="false"`, 1)), nil)
	require.NoError(t, err)
	cs := Diff(b, other)
	require.Len(t, cs, 1, "another maker is chosen; the place that is not fitted does not count")
}

func TestIPC2581ThatIsRefused(t *testing.T) {
	for name, doc := range map[string]string{
		"entities":        `<!DOCTYPE x [<!ENTITY a "b">]><IPC-2581></IPC-2581>`,
		"no list":         `<IPC-2581><Content/></IPC-2581>`,
		"cut off":         ipc[:len(ipc)/2],
		"nested too deep": "<IPC-2581>" + strings.Repeat("<a>", 100),
	} {
		_, err := Read("x.xml", []byte(doc), nil)
		require.ErrorContains(t, err, "offset", name)
	}
	var many strings.Builder
	many.WriteString(`<IPC-2581><Bom><BomItem OEMDesignNumberRef="A">`)
	for i := range maxParts + 2 {
		fmt.Fprintf(&many, `<RefDes name="R%d"/>`, i)
	}
	_, err := Read("x.xml", []byte(many.String()), nil)
	require.ErrorContains(t, err, "more than 100000 parts")
}
