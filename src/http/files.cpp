#include "http/files.h"

#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::http {

RangeKind parse_range(std::string_view h, std::uint64_t size, ByteRange& out) {
  if (!h.starts_with("bytes=")) return RangeKind::whole;
  h.remove_prefix(6);
  if (h.find(',') != std::string_view::npos) return RangeKind::whole;
  h = text::trim(h);
  auto dash = h.find('-');
  if (dash == std::string_view::npos) return RangeKind::whole;
  auto first = h.substr(0, dash);
  auto last = h.substr(dash + 1);
  if (first.empty()) {
    auto n = text::to_u64(last);
    if (!n) return RangeKind::whole;
    if (*n == 0) return RangeKind::unsatisfiable;
    std::uint64_t take = std::min(*n, size);
    if (size == 0) return RangeKind::whole;
    out = {size - take, take};
    return RangeKind::part;
  }
  auto a = text::to_u64(first);
  auto b = last.empty() ? std::optional<std::uint64_t>(UINT64_MAX) : text::to_u64(last);
  if (!a || !b || *b < *a) return RangeKind::whole;
  if (*a >= size) return RangeKind::unsatisfiable;
  out = {*a, std::min(*b, size - 1) - *a + 1};
  return RangeKind::part;
}

std::string_view content_type_for(std::string_view name) {
  static const std::unordered_map<std::string_view, std::string_view> types{{"html", "text/html; charset=utf-8"},
                                                                            {"htm", "text/html; charset=utf-8"},
                                                                            {"js", "text/javascript; charset=utf-8"},
                                                                            {"mjs", "text/javascript; charset=utf-8"},
                                                                            {"css", "text/css; charset=utf-8"},
                                                                            {"json", "application/json"},
                                                                            {"map", "application/json"},
                                                                            {"svg", "image/svg+xml"},
                                                                            {"png", "image/png"},
                                                                            {"jpg", "image/jpeg"},
                                                                            {"jpeg", "image/jpeg"},
                                                                            {"gif", "image/gif"},
                                                                            {"webp", "image/webp"},
                                                                            {"ico", "image/x-icon"},
                                                                            {"txt", "text/plain; charset=utf-8"},
                                                                            {"log", "text/plain; charset=utf-8"},
                                                                            {"md", "text/plain; charset=utf-8"},
                                                                            {"yaml", "text/plain; charset=utf-8"},
                                                                            {"yml", "text/plain; charset=utf-8"},
                                                                            {"csv", "text/csv; charset=utf-8"},
                                                                            {"xml", "text/xml; charset=utf-8"},
                                                                            {"pdf", "application/pdf"},
                                                                            {"zip", "application/zip"},
                                                                            {"gz", "application/gzip"},
                                                                            {"woff", "font/woff"},
                                                                            {"woff2", "font/woff2"},
                                                                            {"ttf", "font/ttf"},
                                                                            {"wasm", "application/wasm"},
                                                                            {"mp4", "video/mp4"},
                                                                            {"wav", "audio/x-wav"},
                                                                            {"mp3", "audio/mpeg"},
                                                                            {"py", "text/plain; charset=utf-8"}};
  auto slash = name.rfind('/');
  if (slash != std::string_view::npos) name.remove_prefix(slash + 1);
  if (name == "MLmodel") return "text/plain; charset=utf-8";
  auto dot = name.rfind('.');
  if (dot == std::string_view::npos) return "application/octet-stream";
  auto it = types.find(text::lower(name.substr(dot + 1)));
  return it == types.end() ? "application/octet-stream" : it->second;
}

bool packs_well(std::string_view name) {
  auto type = content_type_for(name);
  return type.starts_with("text/") || type.starts_with("application/json") || type.starts_with("image/svg") ||
         type.starts_with("application/wasm");
}

namespace {

// The plain letter under an accent, for U+00C0 to U+017F; a blank where there is none.
char base_letter(std::uint32_t c) {
  static constexpr std::string_view table =
      "AAAAAA CEEEEIIII NOOOOO OUUUUY  aaaaaa ceeeeiiii nooooo ouuuuy y"
      "AaAaAaCcCcCcCcDd  EeEeEeEeEeGgGgGgGgHh  IiIiIiIiI   JjKk LlLlLl  "
      "  NnNnNn   OoOoOo  RrRrRrSsSsSsSsTtTt  UuUuUuUuUuUuWwYyYZzZzZz ";
  return c >= 0xC0 && c - 0xC0 < table.size() ? table[c - 0xC0] : ' ';
}

// ASCII letters as they are, accented Latin letters without their accent, all else left out.
std::string ascii_fallback(std::string_view s) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    auto c = static_cast<unsigned char>(s[i]);
    if (c >= 0x20 && c < 0x7F) {
      out += s[i];
    } else if ((c & 0xE0) == 0xC0 && i + 1 < s.size()) {
      char plain = base_letter((c & 31U) << 6 | (static_cast<unsigned char>(s[++i]) & 63U));
      if (plain != ' ') out += plain;
    }
  }
  return out.find_first_not_of(" .") == std::string::npos ? "download" : out;
}

// A token as it is, anything else quoted (RFC 9110 section 5.6).
std::string parameter(const std::string& v) {
  bool token = !v.empty();
  for (char c : v)
    token = token && (std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                      std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
  if (token) return v;
  std::string out = "\"";
  for (char c : v) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

std::string attachment(std::string_view file_name) {
  bool plain = std::all_of(file_name.begin(), file_name.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
  if (plain) return "attachment; filename=" + parameter(std::string(file_name));
  return "attachment; filename=" + parameter(ascii_fallback(file_name)) + "; filename*=UTF-8''" +
         text::percent_encode(file_name);
}

Response file_response(const Request& req, Fd fd, std::uint64_t size, const FileMeta& meta) {
  Response r;
  r.headers.add("Content-Type", meta.content_type);
  r.headers.add("Accept-Ranges", "bytes");
  if (!meta.etag.empty()) r.headers.add("ETag", meta.etag);
  if (meta.modified_s > 0) r.headers.add("Last-Modified", time::http_date(meta.modified_s));
  auto none_match = req.headers.get("If-None-Match");
  bool unchanged = false;
  if (!none_match.empty()) {
    unchanged = none_match == "*" || text::icontains_token(none_match, meta.etag);
  } else if (auto since = req.headers.get("If-Modified-Since"); !since.empty()) {
    auto t = time::parse_http_date(std::string(since));
    unchanged = t >= 0 && meta.modified_s <= t;
  }
  if (unchanged) {
    r.status = 304;
    return r;
  }
  ByteRange range{0, size};
  auto if_range = req.headers.get("If-Range");
  if (if_range.empty() || if_range == meta.etag) {
    auto kind = parse_range(req.headers.get("Range"), size, range);
    if (kind == RangeKind::unsatisfiable) {
      r.status = 416;
      r.headers.set("Content-Type", "text/plain; charset=utf-8");
      r.headers.add("Content-Range", fmt::format("bytes */{}", size));
      r.body = std::string("Requested range not satisfiable\n");
      return r;
    }
    if (kind == RangeKind::part) {
      r.status = 206;
      r.headers.add("Content-Range",
                    fmt::format("bytes {}-{}/{}", range.offset, range.offset + range.length - 1, size));
    }
  }
  r.body = FileBody{std::move(fd), range.offset, range.length};
  return r;
}

}  // namespace mr::http
