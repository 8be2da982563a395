/** How a reader moves in a log that grows. */
import { type RefObject, useLayoutEffect, useRef, useState } from 'react';
import type { Lines } from './lines.js';
import { keepsToEnd, LINE_PX, topToShow } from './window.js';

export interface Scrolling {
  ref: RefObject<HTMLElement | null>;
  isFollowing: boolean;
  top: number;
  height: number;
  /** Lines that have come since the reader has paused it. */
  news: number;
  scrolled: () => void;
  /** Goes to the end and stays there. */
  follow: () => void;
  /** Stays where it is. */
  hold: () => void;
  /** Scrolls to a line, and holds there. */
  show: (index: number) => void;
}

/** The line that the reader looks at, and how far it has left the screen: it stays there whatever is taken away above. */
interface Anchor {
  key: number;
  rest: number;
}

export function useScroll(lines: Lines, length: number): Scrolling {
  const ref = useRef<HTMLElement>(null);
  const [isFollowing, setFollowing] = useState(true);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  const anchor = useRef<Anchor | undefined>(undefined);
  const before = useRef(0);
  const since = useRef(0);

  const note = (element: HTMLElement) => {
    const first = lines.at(Math.floor(element.scrollTop / LINE_PX));
    anchor.current = first && { key: first.key, rest: element.scrollTop % LINE_PX };
    setTop(element.scrollTop);
  };
  const pause = () => {
    if (isFollowing) since.current = lines.end;
    setFollowing(false);
  };

  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    if (isFollowing) element.scrollTop = element.scrollHeight;
    else if (anchor.current) {
      const wanted = lines.indexOf(anchor.current.key) * LINE_PX + anchor.current.rest;
      if (Math.abs(wanted - element.scrollTop) > 1) {
        element.scrollTop = wanted;
        setTop(element.scrollTop);
      }
    }
    before.current = element.scrollTop;
    if (element.clientHeight > 0) setHeight(element.clientHeight);
  });

  useLayoutEffect(() => {
    // What is around it may grow: then more lines are seen, and the end has moved.
    const element = ref.current;
    if (!element) return;
    const sizes = new ResizeObserver(() => setHeight(element.clientHeight));
    sizes.observe(element);
    return () => sizes.disconnect();
  }, []);

  return {
    ref,
    isFollowing,
    top: isFollowing ? Math.max(0, length * LINE_PX - height) : top,
    height,
    news: isFollowing ? 0 : length - lines.indexOf(since.current),
    scrolled() {
      const element = ref.current;
      if (!element) return;
      const keeps = keepsToEnd(isFollowing, before.current, element);
      before.current = element.scrollTop;
      if (keeps && isFollowing) return;
      if (keeps) setFollowing(true);
      else {
        pause();
        note(element);
      }
    },
    follow: () => setFollowing(true),
    hold() {
      if (!ref.current || !isFollowing) return;
      pause();
      note(ref.current);
    },
    show(index) {
      const element = ref.current;
      if (!element) return;
      pause();
      element.scrollTop = topToShow(index, element.scrollTop, element.clientHeight);
      note(element);
    },
  };
}
