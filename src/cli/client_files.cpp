#include "cli/client_files.h"

#include <boost/json/stream_parser.hpp>
#include <fstream>
#include <iostream>
#include <sstream>

#include "kube/decode.h"
#include "text/text.h"

namespace mr::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 20;

Result<std::string> read_all(std::istream& in, const std::string& name) {
  std::string out;
  char piece[64 * 1024];
  while (in.read(piece, sizeof piece) || in.gcount() > 0) {
    out.append(piece, static_cast<std::size_t>(in.gcount()));
    if (out.size() > kMostBytes)
      return fail(Code::too_large, fmt::format("{} is larger than {} MiB", name, kMostBytes >> 20));
  }
  if (in.bad()) return fail(Code::invalid_argument, fmt::format("{} cannot be read", name));
  return out;
}

// Where a line of three dashes begins, or the end.
std::size_t next_document(std::string_view text, std::size_t from) {
  for (auto at = text.find("\n---", from); at != std::string_view::npos; at = text.find("\n---", at + 1)) {
    auto after = at + 4;
    if (after >= text.size() || std::string_view(" \t\r\n#").find(text[after]) != std::string_view::npos) return at + 1;
  }
  return text.size();
}

Result<std::vector<kube::Value>> documents_of_json(std::string_view text, const std::string& from) {
  std::vector<kube::Value> out;
  boost::json::parse_options options;
  options.max_depth = 256;
  boost::json::stream_parser parser({}, options);
  auto rest = text::trim(text);
  while (!rest.empty()) {
    boost::system::error_code ec;
    auto used = parser.write_some(rest.data(), rest.size(), ec);
    if (!ec) rest.remove_prefix(used);
    if (!ec && rest.empty()) parser.finish(ec);
    if (ec)
      return fail(Code::invalid_argument,
                  fmt::format("{} is not JSON: {} near byte {}", from, ec.message(), text.size() - rest.size() + used));
    if (parser.done()) {
      out.push_back(parser.release());
      parser.reset();
    }
    rest = text::trim(rest);
  }
  return out;
}

Result<> take(kube::Value v, const std::string& from, std::vector<Manifest>& out) {
  if (v.is_null()) return {};  // a document of comments
  if (!v.is_object())
    return fail(Code::invalid_argument,
                fmt::format("{}: an object is expected, with apiVersion, kind and metadata", from));
  auto& o = v.get_object();
  if (o.empty()) return {};
  auto kind = kube::kind_of(o);
  if (kind.empty() || kube::api_version_of(o).empty())
    return fail(Code::invalid_argument, fmt::format("{}: {} is not set; every object says its apiVersion and kind",
                                                    from, kind.empty() ? "kind" : "apiVersion"));
  auto* items = o.if_contains("items");
  if (kind.ends_with("List") && items != nullptr && items->is_array()) {
    for (auto& i : items->get_array()) MR_CHECK(take(std::move(i), from, out));
    return {};
  }
  out.push_back({from, std::move(o)});
  return {};
}

}  // namespace

Result<std::vector<Manifest>> parse_manifests(std::string_view text, const std::string& from) {
  std::vector<Manifest> out;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  int number = 0;
  for (std::size_t at = 0; at < text.size();) {
    // The dashes belong to the document that they begin.
    auto end = next_document(text, at);
    auto document = text.substr(at, end - at);
    at = end;
    if (document.find_first_not_of(" \t\r\n-") == std::string_view::npos) continue;
    auto name = number == 0 && at >= text.size() ? from : fmt::format("{}, document {}", from, number + 1);
    auto content = document;
    if (content.starts_with("---")) content.remove_prefix(3);
    content = text::trim(content);
    std::optional<Error> json_fault;
    if (content.starts_with('{')) {
      auto objects = documents_of_json(content, name);
      if (objects) {
        ++number;
        for (auto& o : *objects) MR_CHECK(take(std::move(o), name, out));
        continue;
      }
      json_fault = objects.error();  // unless it is YAML in braces
    }
    std::vector<std::string> duplicates;
    auto v = kube::decode::parse_yaml(document, duplicates);
    if (!v && json_fault) return std::unexpected(*json_fault);
    if (!v) return fail(Code::invalid_argument, fmt::format("{}: {}", name, v.error().message));
    if (!duplicates.empty()) return fail(Code::invalid_argument, fmt::format("{}: {}", name, duplicates[0]));
    if (!v->is_null()) ++number;  // comments alone are no document
    MR_CHECK(take(std::move(*v), name, out));
  }
  return out;
}

Result<std::vector<Manifest>> read_manifests(const std::vector<std::string>& files) {
  std::vector<Manifest> out;
  auto add = [&](std::istream& in, const std::string& name) -> Result<> {
    MR_TRY(auto text, read_all(in, name));
    MR_TRY(auto more, parse_manifests(text, name));
    std::ranges::move(more, std::back_inserter(out));
    return {};
  };
  for (const auto& f : files) {
    std::error_code ec;
    if (f == "-") {
      MR_CHECK(add(std::cin, "standard input"));
      continue;
    }
    if (f.starts_with("http://") || f.starts_with("https://"))
      return fail(Code::unsupported,
                  fmt::format("{} is not fetched; load it down first (curl -O) and name the file", f));
    if (!fs::exists(f, ec)) return fail(Code::not_found, fmt::format("the path \"{}\" does not exist", f));
    std::vector<fs::path> paths{f};
    if (fs::is_directory(f, ec)) {
      paths.clear();
      for (fs::directory_iterator it(f, ec), end; !ec && it != end; it.increment(ec))
        if (auto x = it->path().extension(); x == ".yaml" || x == ".yml" || x == ".json") paths.push_back(it->path());
      std::ranges::sort(paths);
      if (paths.empty())
        return fail(Code::not_found, fmt::format("the folder \"{}\" has no *.yaml, *.yml or *.json files", f));
    }
    for (const auto& p : paths) {
      std::ifstream in(p);
      if (!in)
        return fail(Code::invalid_argument, fmt::format("{} cannot be read: {}", p.string(), std::strerror(errno)));
      MR_CHECK(add(in, p.string()));
    }
  }
  if (out.empty()) return fail(Code::invalid_argument, "no objects were found in what -f names");
  return out;
}

}  // namespace mr::cli
