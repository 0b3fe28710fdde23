// Return the texts whose contrast with their background is below 4.5 to 1 (WCAG AA).
() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    for (const colour of colours) {
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
    }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = new Set();
  const texts = document.createTreeWalker(document.getElementById("main"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim();
    const element = texts.currentNode.parentElement;
    const seen = element.getBoundingClientRect().width > 1 && !element.closest(".c-unseen, [aria-hidden]");
    if (!text || !seen) continue;
    const behind = ["#fff"];
    for (let e = element; e; e = e.parentElement) behind.splice(1, 0, getComputedStyle(e).backgroundColor);
    const background = luminance(paint(behind));
    const colour = luminance(paint([getComputedStyle(element).color]));
    const ratio = (Math.max(background, colour) + 0.05) / (Math.min(background, colour) + 0.05);
    if (ratio < 4.5) faint.add(`${ratio.toFixed(2)} ${element.className}: ${text.slice(0, 40)}`);
  }
  return [...faint];
}
