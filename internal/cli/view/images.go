package view

import (
	"fmt"
	"io"

	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/images"
)

// ImagesPlan prints what a push would do.
func ImagesPlan(w io.Writer, p *images.Plan) {
	fmt.Fprintln(w, ImagesSum(p))
	listImages(w, p)
}

// ImagesSum says in a line what a push would do.
func ImagesSum(p *images.Plan) string {
	lacking := 0
	for _, i := range p.Images {
		if !i.Complete() {
			lacking++
		}
	}
	switch {
	case lacking == 0 && len(p.Images) == 1:
		return "images: the only one is there"
	case lacking == 0:
		return fmt.Sprintf("images: all %d are there", len(p.Images))
	}
	text := fmt.Sprintf("images: %d of %d to push, %s to send", lacking, len(p.Images), bytesOf(p.Send))
	if p.Mount > 0 {
		text += fmt.Sprintf(", %s shared between repositories", bytesOf(p.Mount))
	}
	if p.There > 0 {
		text += fmt.Sprintf(", %s there already", bytesOf(p.There))
	}
	return text
}

func listImages(w io.Writer, p *images.Plan) {
	for _, i := range p.Images {
		state := "is there"
		switch {
		case i.Whole && !i.Complete():
			state = "is there under another tag"
		case !i.Complete():
			state = "is missing, " + bytesOf(i.Send) + " of " + bytesOf(i.Size)
		}
		entry(w, "%s %s", i.Name(), state)
		detail(w, "%s", i.Digest)
	}
}

// ImagesPushed prints what a push has done.
func ImagesPushed(w io.Writer, p *images.Plan) {
	pushed := 0
	for _, i := range p.Images {
		if !i.Complete() {
			pushed++
		}
	}
	fmt.Fprintf(w, "ok: %s there, %d of them pushed now\n", Count(len(p.Images), "image"), pushed)
	for _, i := range p.Images {
		entry(w, "%s", i.Name())
		detail(w, "%s", i.Digest)
	}
}

// ImagesState prints which of a bundle's images there are.
func ImagesState(w io.Writer, p *images.Plan, missing fault.Faults) {
	ImagesPlan(w, p)
	if len(missing) == 0 {
		fmt.Fprintln(w, "ok: every image that the charts name is there")
		return
	}
	section(w, "images that charts name and that are not there", len(missing))
	for _, f := range missing {
		entry(w, "%s", f.String())
		detail(w, "fix: %s", f.Fix)
	}
}
