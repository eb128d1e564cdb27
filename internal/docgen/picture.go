package main

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// picture draws the architecture of a configuration with three zones as SVG:
// tiers by zones on a fixed grid, the internet above, the company's network to
// the left and the region's services to the right.
func picture(file string) ([]byte, error) {
	c, err := config.LoadFile(file)
	if err != nil {
		return nil, err
	}
	a, err := architecture.New(c)
	if err != nil {
		return nil, err
	}
	d := &drawing{}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title">`, width, height)
	d.printf(`<title id="title">The production architecture: tiers by availability zones</title>`)
	d.printf(`<style>%s</style>`, style)
	d.printf(`<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>`)
	d.printf(`<rect class="paper" width="%d" height="%d" rx="8"/>`, width, height)
	d.frames(a)
	d.public(a)
	d.private(a)
	d.controlPlane(a)
	d.services(a)
	d.paths()
	d.printf(`</svg>`)
	return d.b.Bytes(), nil
}

// The grid.
const (
	width, height = 1464, 1010

	vpcX, vpcY, vpcW, vpcH = 196, 176, 956, 740
	zoneX, zoneW, gutter   = 344, 240, 26
	publicY, publicH       = 266, 174
	privateY, privateH     = 456, 332
	controlY, controlH     = 804, 96
	servicesX, servicesW   = 1200, 224
	companyX, companyW     = 20, 140
)

// style says what things look like in light and in dark.
const style = `
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;font-size:14px;fill:#1b2733;text-anchor:middle}
.left{text-anchor:start}.small{font-size:12.5px;fill:#4a5866}.bold{font-weight:600}.big{font-size:16px;font-weight:600}
rect{fill:none;stroke-width:1.4}
.paper{fill:#fff;stroke:#d5dbe1}.frame{stroke:#8895a1;fill:#f7f9fb}.zone{stroke:#8895a1;stroke-dasharray:5 5}
.tier{stroke:#9fb0bf;fill:#eef3f7}.box{stroke:#5b6b79;fill:#fff}.role{stroke:#3d6fb4;fill:#e9f1fc}
.way{stroke:#7a4fb0;fill:#f3ecfb}.data{stroke:#2f7d5b;fill:#e6f5ee}.who{stroke:#b0611d;fill:#fdf1e6}
path{fill:none;stroke:#1b2733;stroke-width:2}.head{fill:#1b2733;stroke:none}.out{stroke-dasharray:3 5}.dot{fill:#1b2733}.num{fill:#fff;font-weight:700}
@media (prefers-color-scheme:dark){
text{fill:#e4eaf0}.small{fill:#a9b6c2}
.paper{fill:#10161c;stroke:#2c3741}.frame{stroke:#5f6d79;fill:#151d24}.zone{stroke:#5f6d79}
.tier{stroke:#43515d;fill:#1b2630}.box{stroke:#8796a3;fill:#10161c}.role{stroke:#6fa0e6;fill:#172740}
.way{stroke:#b08be0;fill:#2a1e3b}.data{stroke:#5cb98e;fill:#14302a}.who{stroke:#e29a58;fill:#35230f}
path{stroke:#e4eaf0}.head,.dot{fill:#e4eaf0}.num{fill:#10161c}
}`

type drawing struct{ b bytes.Buffer }

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.b, format+"\n", args...) }

// rect draws a rectangle, and lines of text in its middle, the first one bold.
func (d *drawing) rect(class string, x, y, w, h int, lines ...string) {
	d.printf(`<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="5"/>`, class, x, y, w, h)
	const line = 17
	top := y + h/2 - (len(lines)-1)*line/2 + 5
	for i, s := range lines {
		look := "small"
		if i == 0 {
			look = "bold"
		}
		d.text(look, x+w/2, top+i*line, s)
	}
}

func (d *drawing) text(class string, x, y int, s string) {
	d.printf(`<text class="%s" x="%d" y="%d">%s</text>`, class, x, y, html.EscapeString(s))
}

// zone is where a zone begins.
func zone(i int) int { return zoneX + i*(zoneW+gutter) }

// across is the width of all zones.
const across = 3*zoneW + 2*gutter

func (d *drawing) frames(a *architecture.Architecture) {
	d.rect("frame", vpcX-16, 112, width-vpcX+4, height-112-58)
	d.text("left big", vpcX, 138, "AWS account, "+a.Config.Region)
	d.rect("frame", vpcX, vpcY, vpcW, vpcH)
	d.text("left bold", vpcX+12, vpcY+23, "VPC "+a.VPC().String())
	d.text("left small", vpcX+12, vpcY+41, "network ACL per tier")
	d.text("left small", vpcX+12, vpcY+57, "flow logs")
	for _, t := range []struct {
		y, h  int
		lines []string
	}{
		{publicY, publicH, []string{"Public", "subnets"}},
		{privateY, privateH, []string{"Private", "subnets"}},
		{controlY, controlH, []string{"Control-plane", "subnets"}},
	} {
		d.rect("tier", vpcX+12, t.y, vpcW-24, t.h)
		for i, s := range t.lines {
			d.text("left bold", vpcX+24, t.y+23+i*17, s)
		}
	}
	for i := range 3 {
		d.rect("zone", zone(i), 226, zoneW, controlY+controlH-226+6)
		d.text("left bold", zone(i)+12, 247, fmt.Sprintf("Availability zone %d", i+1))
	}
}

// subnets writes the ranges of a tier's subnets.
func (d *drawing) subnets(a *architecture.Architecture, t architecture.Tier, y int) {
	for _, s := range a.Tier(t) {
		d.text("small", zone(s.Zone)+zoneW/2, y, s.CIDR.String())
	}
}

func (d *drawing) public(a *architecture.Architecture) {
	d.rect("way", zone(0)+10, vpcY-1, vpcX+vpcW-zone(0)-22, 34, "Internet gateway")
	for _, s := range a.PublicSubnets() {
		d.text("left small", zone(s.Zone)+12, publicY+21, s.CIDR.String())
	}
	for i := range 3 {
		d.rect("box", zone(i)+10, publicY+32, zoneW-20, 50, "NAT gateway", "fixed address")
	}
	d.rect("way", zone(0)+10, publicY+102, across-20, 58, "Web load balancer", "host names of web and API, TLS 1.2+, allow-list, web application firewall, sign-on for web users")
}

func (d *drawing) private(a *architecture.Architecture) {
	d.subnets(a, architecture.Private, privateY+20)
	for i := range 3 {
		x := zone(i)
		d.rect("role", x+8, privateY+56, 122, 50, "web-assistant", "nodes")
		d.rect("role", x+zoneW-104, privateY+56, 96, 50, "interface", "nodes")
		d.rect("role", x+10, privateY+144, zoneW-20, 44, "core nodes")
	}
	d.rect("data", zone(0)+10, privateY+224, zoneW-20, 50, "PostgreSQL primary", "RDS, "+a.Config.Database.InstanceClass)
	d.rect("data", zone(1)+10, privateY+224, zoneW-20, 50, "PostgreSQL standby", "takes over by itself")
	d.text("small", zone(2)+zoneW/2, privateY+246, "primary and standby")
	d.text("small", zone(2)+zoneW/2, privateY+262, "are in two of the zones")
	d.rect("box", zone(0)+10, privateY+290, across-20, 30)
	d.text("small", zoneX+across/2, privateY+310, "Interface endpoints: "+strings.Join(a.Endpoints, ", ")+"; gateway endpoint: s3")
	d.rect("way", vpcX+20, privateY+134, 116, 64, "Admin", "load balancer,", "sign-on")
}

func (d *drawing) controlPlane(a *architecture.Architecture) {
	d.subnets(a, architecture.ControlPlane, controlY+20)
	d.rect("box", zone(0)+10, controlY+32, across-20, 50, "EKS control plane "+a.Config.Cluster.Version, "private endpoint always, public one only for an allow-list; access entries; secrets encrypted")
}

func (d *drawing) services(a *architecture.Architecture) {
	list := []struct{ class, name, what string }{
		{"box", "Route 53", "zone and records"},
		{"box", "Certificate Manager", "for the load balancers"},
		{"box", "IAM", fmt.Sprintf("roles of %d service accounts", len(a.ServiceAccounts))},
		{"data", "S3", "models, code and docs"},
		{"data", "S3", "audit, telemetry; logs"},
		{"data", "ECR", fmt.Sprintf("%d repositories", len(a.Config.Registry.Repositories))},
		{"box", "Parameter Store", "endpoints, ARNs, versions"},
		{"data", "Secrets Manager", "database, sign-on"},
		{"box", "KMS", fmt.Sprintf("%d keys, one per purpose", len(a.Keys))},
		{"data", "AWS Backup", "database and buckets"},
		{"box", "CloudWatch", "logs and alarms"},
	}
	d.rect("tier", servicesX-14, vpcY, servicesW+28, vpcH)
	d.text("left bold", servicesX, vpcY+23, "Services of the region")
	for i, s := range list {
		d.rect(s.class, servicesX, vpcY+36+i*64, servicesW, 54, s.name, s.what)
	}
}

// paths draws who comes in where.
func (d *drawing) paths() {
	first, second := zone(1)-gutter/2, zone(2)-gutter/2
	d.rect("who", first-100, 20, 200, 52, "Web users", "browser")
	d.rect("who", second-100, 20, 200, 52, "API clients", "IDEs, programs")
	provider := zone(2) + zoneW + 12
	d.rect("who", provider-100, 20, 200, 52, "Identity provider", "OpenID Connect")
	d.rect("who", companyX, privateY+134, companyW, 64, "Administrators", "company network")
	d.rect("who", companyX, controlY+25, companyW, 64, "Operators", "company network")
	web, nodes := publicY+102, privateY+56
	d.arrow("", "1", first, 92, "M%d 72V%d", first, web-1)
	d.arrow("", "2", second, 92, "M%d 72V%d", second, web-1)
	d.arrow("out", "", 0, 0, "M%d %dH%dV73", zone(2)+zoneW-10, web+29, provider)
	// The load balancer reaches nodes in every zone.
	for i := range 3 {
		for _, way := range []struct {
			number       string
			enter, leave int
		}{{"1", zone(i) + 30, zone(i) + 62}, {"2", zone(i) + zoneW - 30, zone(i) + zoneW - 56}} {
			d.arrow("", way.number, way.enter, privateY+22, "M%d %dV%d", way.enter, web+58, nodes-1)
			d.arrow("", "", 0, 0, "M%d %dV%d", way.leave, nodes+50, privateY+143)
		}
		d.arrow("out", "", 0, 0, "M%d %dV%d", zone(i)+zoneW-44, publicY+32, vpcY+34)
	}
	core := privateY + 166
	d.arrow("", "3", companyX+companyW+24, core, "M%d %dH%d", companyX+companyW, core, vpcX+19)
	d.arrow("", "", 0, 0, "M%d %dH%d", vpcX+136, core, zone(0)+9)
	d.arrow("", "4", companyX+companyW+24, controlY+57, "M%d %dH%d", companyX+companyW, controlY+57, zone(0)+9)
	d.arrow("", "", 0, 0, "M%d %dV%d", zone(0)+zoneW/2, privateY+188, privateY+223)
	d.arrow("out", "", 0, 0, "M%d %dH%d", zone(0)+zoneW-10, privateY+249, zone(1)+9)
	d.arrow("", "", 0, 0, "M%d %dH%d", zone(2)+zoneW-10, privateY+305, servicesX-15)

	x := vpcX - 16
	for i, s := range []string{"web users, by their browser", "API clients, by tokens of their own", "administrators, apart from users", "operators, by access entries"} {
		d.dot(fmt.Sprint(i+1), x+10+i*258, height-32)
		d.text("left small", x+26+i*258, height-28, s)
	}
	d.printf(`<path class="out" d="M%d %dh28" marker-end="url(#head)"/>`, x+1046, height-32)
	d.text("left small", x+1084, height-28, "outbound, replication")
}

// arrow draws a line with a head, and a number on it.
func (d *drawing) arrow(class, number string, x, y int, path string, args ...any) {
	d.printf(`<path class="%s" d="%s" marker-end="url(#head)"/>`, class, fmt.Sprintf(path, args...))
	if number != "" {
		d.dot(number, x, y)
	}
}

func (d *drawing) dot(number string, x, y int) {
	d.printf(`<circle class="dot" cx="%d" cy="%d" r="10"/>`, x, y)
	d.text("num small", x, y+5, number)
}
