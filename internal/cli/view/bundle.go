package view

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/bundle/fault"
)

// Bundle prints what is in a bundle.
func Bundle(w io.Writer, c *bundle.Contents) {
	name := c.Path
	if c.Described {
		name = c.Name + " " + c.Version
	}
	paragraph(w, "", "  ", "%s: %s, %s, %s", name, c.Format, Count(c.Files, "file"), bytesOf(c.Size))
	section(w, "charts", len(c.Charts))
	for _, h := range c.Charts {
		of := ""
		if h.AppVersion != "" {
			of = ", app version " + h.AppVersion
		}
		entry(w, "%s %s%s", h.Name, h.Version, of)
		detail(w, "%s", h.File)
		detail(w, "%s", h.Digest)
		for _, r := range h.Images {
			assumed := ""
			if r.Assumed {
				assumed = ", if the template takes the app version; not rendered"
			}
			detail(w, "names %s%s", r.Image, assumed)
		}
		if n := len(h.NotRendered); n > 0 {
			detail(w, "%s made by templates, not rendered", Count(n, "reference"))
		}
	}
	section(w, "images", len(c.Images))
	for _, i := range c.Images {
		entry(w, "%s, %s", imageName(i), bytesOf(i.Size))
		detail(w, "%s", i.File)
		of := ""
		if i.Made {
			of = ", of the manifest that a push makes: the archive has none"
		}
		detail(w, "%s%s", i.Digest, of)
		for _, p := range i.Platforms {
			if p.Platform != "" {
				detail(w, "%s, %s, %s", p.Platform, Count(len(p.Layers), "layer"), bytesOf(p.Size))
			}
		}
	}
	section(w, "checkpoints", len(c.Checkpoints))
	for _, p := range c.Checkpoints {
		where := "beside the bundle"
		if p.There {
			where = "in the bundle"
		}
		if p.Size > 0 {
			where += ", " + bytesOf(p.Size)
		}
		entry(w, "%s, %s", p.Name, where)
		if p.Digest != "" {
			detail(w, "%s", p.Digest)
		}
	}
	for _, list := range []struct {
		name  string
		files []bundle.File
	}{{"scripts", c.Scripts}, {"unknown", c.Unknown}} {
		section(w, list.name, len(list.files))
		for _, f := range list.files {
			entry(w, "%s, %s", f.Name, bytesOf(f.Size))
		}
	}
	faults(w, c.Faults)
}

// BundleVerification prints whether a bundle is whole.
func BundleVerification(w io.Writer, c *bundle.Contents) {
	if len(c.Faults) == 0 {
		paragraph(w, "", "  ", "ok: %s is whole: %s, %s, %s", c.Path, Count(len(c.Charts), "chart"), Count(len(c.Images), "image"), bytesOf(c.Size))
	} else {
		paragraph(w, "", "  ", "%s is not whole", c.Path)
	}
	checked, unchecked := c.Checked()
	for _, s := range checked {
		paragraph(w, "  checked: ", "    ", "%s", s)
	}
	for _, s := range unchecked {
		paragraph(w, "  not checked: ", "    ", "%s", s)
	}
	faults(w, c.Faults)
}

// BundleMade prints the list of images and digests of a bundle that was made.
func BundleMade(w io.Writer, c *bundle.Contents) {
	paragraph(w, "", "  ", "made %s: %s, %s, %s; its digest is in %s", c.Path, Count(len(c.Charts), "chart"), Count(len(c.Images), "image"), bytesOf(c.Size), c.Path+bundle.SumSuffix)
	for _, i := range c.Images {
		entry(w, "%s", imageName(i))
		detail(w, "%s", i.Digest)
	}
}

func imageName(i bundle.Image) string {
	if len(i.Names) == 0 {
		return "without a name"
	}
	return strings.Join(slices.Clone(i.Names), ", ")
}

func section(w io.Writer, name string, n int) {
	if n > 0 {
		fmt.Fprintf(w, "\n%s\n", name)
	}
}

func entry(w io.Writer, format string, args ...any) { paragraph(w, "  ", "    ", format, args...) }

func detail(w io.Writer, format string, args ...any) { paragraph(w, "    ", "      ", format, args...) }

func faults(w io.Writer, list fault.Faults) {
	section(w, Count(len(list), "fault"), len(list))
	for _, f := range list {
		entry(w, "%s", f.String())
		paragraph(w, "    fix: ", "      ", "%s", f.Fix)
	}
}

// bytesOf is a size for people, in powers of ten: 812 B, 6.4 KB, 21 GB.
func bytesOf(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	for _, unit := range []string{"KB", "MB", "GB", "TB"} {
		f /= 1000
		switch {
		case f < 9.95:
			return fmt.Sprintf("%.1f %s", f, unit)
		case f < 999.5 || unit == "TB":
			return fmt.Sprintf("%.0f %s", f, unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}
