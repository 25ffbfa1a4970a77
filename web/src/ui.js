// The parts of Preact that the page uses, and small helpers for markup.
import { h, render, Component } from "preact";
import {
  useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback,
} from "preact/hooks";
import htm from "htm";

export const html = htm.bind(h);
export { render, useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback };

/** A mapping for keys that come with the data: "constructor" is not in it. */
export const table = (entries) => Object.assign(Object.create(null), entries);

/** Join the class names that are truthy. */
export const cls = (...names) => names.filter(Boolean).join(" ");

/** A component that is drawn again only where one of its properties is another. */
export function once(draw) {
  return class extends Component {
    shouldComponentUpdate(next) {
      return Object.keys(next).some((key) => next[key] !== this.props[key]);
    }

    render(props) {
      return draw(props);
    }
  };
}

/** Width and height of an element in CSS pixels, kept up to date. */
export function useSize(ref) {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const element = ref.current;
    const measure = () => {
      const { clientWidth: width, clientHeight: height } = element;
      setSize((was) => (was.width === width && was.height === height ? was : { width, height }));
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, []);
  return size;
}

/** A 2D context of a canvas whose pixels are the screen's, cleared, in CSS pixels. */
export function pen(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

let palette = null;

/** Colours of the style sheet, for canvases: `colour("call")` is the value of `--call`. */
export function colour(name) {
  palette ??= { style: getComputedStyle(document.documentElement), seen: new Map() };
  if (!palette.seen.has(name)) {
    palette.seen.set(name, palette.style.getPropertyValue(`--${name}`).trim());
  }
  return palette.seen.get(name);
}

/** Forget the colours: the theme has changed. */
export const forgetColours = () => (palette = null);
