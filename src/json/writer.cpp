#include "json/writer.h"

#include <fmt/format.h>

namespace mr::json {

void append_string(std::string& out, std::string_view s) {
  static const char* digits = "0123456789abcdef";
  out += '"';
  std::size_t run = 0;
  auto flush = [&](std::size_t at) { out.append(s.data() + run, at - run); };
  for (std::size_t i = 0; i < s.size();) {
    auto c = static_cast<unsigned char>(s[i]);
    if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
      ++i;
      continue;
    }
    if (c >= 0x80) {
      std::size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
      bool good = c >= 0xC2 && c <= 0xF4 && i + n <= s.size();
      for (std::size_t k = 1; good && k < n; ++k) good = (static_cast<unsigned char>(s[i + k]) & 0xC0) == 0x80;
      if (good) {  // no overlong forms, no surrogates, nothing past U+10FFFF
        auto c1 = static_cast<unsigned char>(s[i + 1]);
        good = !((c == 0xE0 && c1 < 0xA0) || (c == 0xED && c1 > 0x9F) || (c == 0xF0 && c1 < 0x90) ||
                 (c == 0xF4 && c1 > 0x8F));
      }
      if (good) {
        i += n;
        continue;
      }
      flush(i);
      out += "\xEF\xBF\xBD";
      run = ++i;
      continue;
    }
    flush(i);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        out += "\\u00";
        out += digits[c >> 4];
        out += digits[c & 15];
    }
    run = ++i;
  }
  flush(s.size());
  out += '"';
}

void append_string_ascii(std::string& out, std::string_view s) {
  std::string utf8;
  append_string(utf8, s);
  for (std::size_t i = 0; i < utf8.size();) {
    auto c = static_cast<unsigned char>(utf8[i]);
    if (c < 0x80) {
      out += utf8[i++];
      continue;
    }
    std::size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    std::uint32_t code = c & (0xFFU >> (n + 1));
    for (std::size_t k = 1; k < n; ++k) code = code << 6 | (static_cast<unsigned char>(utf8[i + k]) & 63U);
    i += n;
    if (code >= 0x10000)
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF));
    else
      out += fmt::format("\\u{:04x}", code);
  }
}

void append_double(std::string& out, double v) {
  // Python's and orjson's rule: repr; exponent form outside [1e-4, 1e16).
  char buf[40];
  double a = v < 0 ? -v : v;
  bool scientific = a != 0 && (a < 1e-4 || a >= 1e16);
  auto r = scientific ? std::to_chars(buf, buf + sizeof buf, v, std::chars_format::scientific)
                      : std::to_chars(buf, buf + sizeof buf, v, std::chars_format::fixed);
  std::string_view t(buf, static_cast<std::size_t>(r.ptr - buf));
  out += t;
  if (!scientific && t.find('.') == std::string_view::npos && t.find('n') == std::string_view::npos) out += ".0";
}

}  // namespace mr::json
