#include "data/html_page.h"

#include <stdarg.h>
#include <stdio.h>

/* Text and marks keep a contrast of at least 4.5 : 1 and 3 : 1 on the cards of both themes. The heat steps are
 * one hue from near the card to the ink. */
static const char style[] =
    ":root{color-scheme:light dark;--page:#f4f5f7;--card:#fff;--ink:#1a1d21;--soft:#59616b;--grid:#e4e7eb;"
    "--rule:#8b949f;--mark:#2a6db0;--link:#1f5f9e;--h0:#f1f3f5;--h1:#dbe8f4;--h2:#bcd6ec;--h3:#97c0e2;--h4:#6fa6d4;"
    "--h5:#4a8ac2;--h6:#2f6da9;--h7:#1c5089;--h8:#0d3562}\n"
    "@media (prefers-color-scheme:dark){:root{--page:#121417;--card:#1c1f24;--ink:#e9ebee;--soft:#a6aeb9;"
    "--grid:#2f343b;--rule:#6d7682;--mark:#62a8e5;--link:#8cc2f2;--h0:#252930;--h1:#22364a;--h2:#264a69;--h3:#2c6089;"
    "--h4:#3878a8;--h5:#5092c4;--h6:#74addb;--h7:#a0caec;--h8:#d3e8fa}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,"
    "'Noto Sans','DejaVu Sans',sans-serif}\n"
    "header,main,footer{max-width:1180px;margin:0 auto;padding:0 16px}\n"
    "header{padding-top:28px}\n"
    "h1{font-size:1.6rem;line-height:1.25;margin:0;overflow-wrap:anywhere}\n"
    "h2{font-size:1.2rem;margin:32px 0 12px}\n"
    "h3{font-size:1rem;margin:0}\n"
    "p{margin:4px 0 0}\n"
    ".about,.note,footer{color:var(--soft);font-size:.875rem;overflow-wrap:anywhere}\n"
    "footer{padding-top:24px;padding-bottom:32px}\n"
    "dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(132px,1fr));gap:12px;margin:20px 0 0}\n"
    "dl div,article{background:var(--card);border:1px solid var(--grid);border-radius:8px}\n"
    "dl div{padding:10px 14px;display:flex;flex-direction:column-reverse;justify-content:flex-end}\n"
    "dt{color:var(--soft);font-size:.8125rem}\n"
    "dd{margin:0;font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:12px}\n"
    "article{padding:14px 16px;min-width:0}\n"
    "@media (min-width:740px){.wide{grid-column:span 2}}\n.full{grid-column:1/-1}\n"
    ".scroll{overflow-x:auto;margin-top:10px}\n"
    ".plot{display:block;width:100%;max-width:460px;height:auto;margin:0 auto;font-size:11px}\n"
    ".wide .plot{max-width:520px;min-width:400px}\n"
    ".plot text{fill:var(--soft)}\n"
    ".plot .value{fill:var(--ink);font-size:10px}\n"
    ".mid{text-anchor:middle}.end{text-anchor:end}.start{text-anchor:start}\n"
    ".grid{stroke:var(--grid)}.axis{stroke:var(--rule)}\n"
    ".mark{fill:var(--mark)}.mark:hover{fill:var(--ink)}\n"
    ".points{stroke:var(--mark);stroke-width:4;stroke-linecap:round;fill:none}\n"
    ".line{stroke:var(--mark);stroke-width:1.5;stroke-linejoin:round;fill:none}.area{fill:var(--mark);opacity:.18}\n"
    ".heat0{fill:var(--h0)}.heat1{fill:var(--h1)}.heat2{fill:var(--h2)}.heat3{fill:var(--h3)}.heat4{fill:var(--h4)}"
    ".heat5{fill:var(--h5)}.heat6{fill:var(--h6)}.heat7{fill:var(--h7)}.heat8{fill:var(--h8)}\n"
    "table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}\n"
    "caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}\n"
    "th,td{padding:4px 8px;text-align:left;border-bottom:1px solid var(--grid);vertical-align:top}\n"
    "th:first-child,td:first-child{padding-left:0}th:last-child,td:last-child{padding-right:0}\n"
    "tr:last-child td{border-bottom:0}\n"
    "th{color:var(--soft);font-weight:500}\n"
    ".n{text-align:right;white-space:nowrap}\n"
    "td{overflow-wrap:anywhere}\n"
    "details{margin-top:10px}\n"
    "summary{cursor:pointer;color:var(--link);font-size:.875rem}\n"
    "details .scroll{max-height:320px;overflow-y:auto}\n"
    "@media print{body{background:none}article{break-inside:avoid}}\n";

void html_escape(struct strbuf *out, const char *text) {
    const char *plain = text;
    for (; *text; text++) {
        const char *entity = *text == '&'    ? "&amp;"
                             : *text == '<'  ? "&lt;"
                             : *text == '>'  ? "&gt;"
                             : *text == '"'  ? "&quot;"
                             : *text == '\'' ? "&#39;"
                                             : NULL;
        if (!entity) continue;
        strbuf_add(out, plain, (size_t)(text - plain));
        strbuf_puts(out, entity);
        plain = text + 1;
    }
    strbuf_puts(out, plain);
}

/* <tag attributes>text</tag> */
static void element(struct strbuf *out, const char *tag, const char *attributes, const char *text) {
    strbuf_printf(out, "<%s%s>", tag, attributes);
    html_escape(out, text);
    strbuf_printf(out, "</%s>", tag);
}

void html_page_begin(struct strbuf *out, const char *title, const char *about) {
    strbuf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                     "'unsafe-inline'\"/>\n");
    element(out, "title", "", title);
    strbuf_printf(out, "\n<style>\n%s</style>\n</head>\n<body>\n<header>\n", style);
    element(out, "h1", "", title);
    strbuf_puts(out, "\n");
    element(out, "p", " class=\"about\"", about);
    strbuf_puts(out, "\n</header>\n<main>\n");
}

void html_page_end(struct strbuf *out) {
    strbuf_puts(out, "</main>\n</body>\n</html>\n");
}

void html_figures(struct strbuf *out, const struct html_figure *figures, int n) {
    strbuf_puts(out, "<dl>\n");
    for (int i = 0; i < n; i++) {
        strbuf_puts(out, "<div>");
        element(out, "dt", "", figures[i].name);
        element(out, "dd", "", figures[i].value);
        strbuf_puts(out, "</div>\n");
    }
    strbuf_puts(out, "</dl>\n");
}

void html_section_begin(struct strbuf *out, const char *id, const char *title) {
    strbuf_printf(out, "<section id=\"%s\" aria-labelledby=\"%s-title\">\n<h2 id=\"%s-title\">", id, id, id);
    html_escape(out, title);
    strbuf_puts(out, "</h2>\n<div class=\"cards\">\n");
}

void html_section_end(struct strbuf *out) {
    strbuf_puts(out, "</div>\n</section>\n");
}

void html_card_begin(struct strbuf *out, const char *title, const char *note, enum html_width width) {
    static const char *const classes[] = {"", " class=\"wide\"", " class=\"full\""};
    strbuf_printf(out, "<article%s>", classes[width]);
    element(out, "h3", "", title);
    if (note) element(out, "p", " class=\"note\"", note);
    strbuf_puts(out, width == HTML_WIDE ? "\n<div class=\"scroll\" tabindex=\"0\">\n" : "\n<div class=\"scroll\">\n");
}

void html_card_end(struct strbuf *out) {
    strbuf_puts(out, "</div>\n</article>\n");
}

void html_details_begin(struct strbuf *out, const char *summary) {
    strbuf_puts(out, "</div>\n<details>");
    element(out, "summary", "", summary);
    strbuf_puts(out, "\n<div class=\"scroll\" tabindex=\"0\">\n");
}

void html_details_end(struct strbuf *out) {
    strbuf_puts(out, "</div>\n</details>\n<div>");
}

void html_table_begin(struct strbuf *out, const char *caption, const char *const *headers, int n_columns,
                      unsigned numeric) {
    strbuf_puts(out, "<table>");
    element(out, "caption", "", caption);
    strbuf_puts(out, "\n<thead><tr>");
    for (int i = 0; i < n_columns; i++)
        element(out, "th", numeric >> i & 1 ? " scope=\"col\" class=\"n\"" : " scope=\"col\"", headers[i]);
    strbuf_puts(out, "</tr></thead>\n<tbody>\n");
}

void html_row_begin(struct strbuf *out) {
    strbuf_puts(out, "<tr>");
}

void html_cell(struct strbuf *out, const char *text) {
    element(out, "td", "", text);
}

void html_number(struct strbuf *out, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    element(out, "td", " class=\"n\"", text);
}

void html_row_end(struct strbuf *out) {
    strbuf_puts(out, "</tr>\n");
}

void html_table_end(struct strbuf *out) {
    strbuf_puts(out, "</tbody></table>\n");
}
