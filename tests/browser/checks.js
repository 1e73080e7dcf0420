// What tests ask of a page, run in it.
const checks = {
  // Contrast of a text with what lies behind it, as WCAG 2.1 defines it.
  contrast(node) {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const pixel = (colour) => {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => value / 255);
    };
    const linear = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const light = (colour) => {
      const [red, green, blue] = pixel(colour).map(linear);
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    let behind = node;
    while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)" && behind.parentElement) behind = behind.parentElement;
    const both = [light(getComputedStyle(node).color), light(getComputedStyle(behind).backgroundColor)];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  },

  // What assistive software would miss.
  faults() {
    const faults = [];
    const all = (selector) => [...document.querySelectorAll(selector)];
    const fault = (what, nodes) => faults.push(...nodes.map((one) => `${what}: ${one.outerHTML.slice(0, 100)}`));
    const labelled = (one) => one.getAttribute("aria-label") || [...(one.labels ?? [])].some((label) => label.textContent.trim());
    fault("no alt", all("img").filter((one) => !one.hasAttribute("alt")));
    fault("no label", all("input, select").filter((one) => !labelled(one)));
    fault("no name", all("button, a[href]").filter((one) => !one.textContent.trim() && !one.getAttribute("aria-label")));
    fault("no caption", all("table.sortable").filter((one) => !one.caption));
    fault("no scope", all("main th").filter((one) => !one.scope));
    fault("no key reaches it", all(".scroll").filter((one) => one.tabIndex !== 0 || !one.getAttribute("aria-label")));
    fault("leads nowhere", all('a[href^="#"]').filter((one) => !document.querySelector(one.getAttribute("href"))));
    fault("labelled by nothing", all("[aria-labelledby]").filter((one) => !document.getElementById(one.getAttribute("aria-labelledby"))));
    const ids = all("[id]").map((one) => one.id);
    faults.push(...ids.filter((id, index) => ids.indexOf(id) !== index).map((id) => `id twice: ${id}`));
    const levels = all("h1, h2, h3, h4").filter((one) => !one.closest("dialog")).map((one) => Number(one.tagName[1]));
    levels.forEach((level, index) => index && level > levels[index - 1] + 1 && faults.push(`h${levels[index - 1]}, then h${level}`));
    return [...new Set(faults)];
  },
};
