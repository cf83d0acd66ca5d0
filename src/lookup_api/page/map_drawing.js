// Drawing many campaigns fast: discs written straight into an image's pixels.
//
// A disc of three pixels costs a dozen writes, so 50,000 of them take some milliseconds on one core and no graphics
// card, where 50,000 arcs of a canvas take ten times that.

const BASE = 0xff000000;

/** A colour as a pixel of an ImageData on a little-endian machine, which all that run browsers are. */
export const pixel = ([red, green, blue]) => (BASE | (blue << 16) | (green << 8) | red) >>> 0;

/** A colour that lets some of another through. */
export const mixed = (one, other, share) => one.map((part, at) => Math.round(part * share + other[at] * (1 - share)));

/** The pixels of a disc around its centre, with how much of each it covers, from 0 to 256. */
function discOf(radius) {
  const reach = Math.ceil(radius);
  const pixels = [];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const cover = Math.round(256 * Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(x, y))));
      if (cover) pixels.push([x, y, cover]);
    }
  }
  // Pixels that a disc covers wholly are written, and only its edge is mixed with what is below.
  return { reach, whole: pixels.filter(([, , cover]) => cover === 256), edge: pixels.filter(([, , cover]) => cover < 256) };
}

/** Discs on a canvas of `width` by `height` pixels of the screen. */
export class Discs {
  constructor(canvas) {
    this.pen = canvas.getContext("2d", { alpha: false });
    this.width = this.height = this.radius = 0;
  }

  /** Begin a picture: its size, the radius of its discs, all in pixels of the screen, and the paper's pixel. */
  begin(width, height, radius, paper) {
    const disc = this.radius === radius ? this.disc : discOf(radius);
    // A frame around the picture takes what discs at its edge have outside it, so that nothing is checked a pixel.
    const across = width + 2 * disc.reach, down = height + 2 * disc.reach;
    if (this.width !== width || this.height !== height || this.disc?.reach !== disc.reach) {
      this.image = new ImageData(across, down);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    Object.assign(this, { width, height, radius, disc, across });
    this.whole = Int32Array.from(disc.whole, ([x, y]) => y * across + x);
    this.edge = Int32Array.from(disc.edge, ([x, y]) => y * across + x);
    this.covers = Int32Array.from(disc.edge, ([, , cover]) => cover);
    this.pixels.fill(paper);
  }

  /** A disc around a point of the picture; nothing where that is outside. */
  add(x, y, colour) {
    const column = Math.round(x), row = Math.round(y);
    if (column < 0 || row < 0 || column >= this.width || row >= this.height) return;
    const { pixels, whole, edge, covers, disc } = this;
    const centre = (row + disc.reach) * this.across + column + disc.reach;
    const redBlue = colour & 0xff00ff, green = colour & 0x00ff00;
    for (let k = 0; k < whole.length; k++) pixels[centre + whole[k]] = colour;
    for (let k = 0; k < edge.length; k++) {
      const at = centre + edge[k], cover = covers[k];
      const under = pixels[at];
      const underRedBlue = under & 0xff00ff, underGreen = under & 0x00ff00;
      pixels[at] = BASE
        | ((underRedBlue + (Math.imul(redBlue - underRedBlue, cover) >> 8)) & 0xff00ff)
        | ((underGreen + (Math.imul(green - underGreen, cover) >> 8)) & 0x00ff00);
    }
  }

  /** Put the picture onto the canvas. */
  end() {
    this.pen.putImageData(this.image, -this.disc.reach, -this.disc.reach);
  }
}
