#include "kube/request.h"

#include "json/parse.h"
#include "kube/wire.h"
#include "text/text.h"

namespace mr::kube {

namespace {
constexpr std::size_t kBodyLimit = 3U << 20;  // as the real server's

// Warnings are quoted strings of a header: no control characters, quotes escaped, bounded.
std::string warning_header(std::string_view text) {
  std::string out = "299 - \"";
  for (char c : text.substr(0, 900)) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return out + "\"";
}
}  // namespace

void add_warnings(http::Response& r, const std::vector<std::string>& warnings) {
  std::size_t n = 0;
  for (const auto& w : warnings)
    if (n++ < 32) r.headers.add("Warning", warning_header(w));
}

http::Response error_response(const ApiError& e) {
  auto r = http::Response::json(e.code, json::serialize(status_of(e)));
  if (e.code == 401) r.headers.set("WWW-Authenticate", std::string("Bearer"));
  if (e.code == 429 || e.code == 503) r.headers.set("Retry-After", std::string("1"));
  return r;
}
http::Response object_response(int status, const Object& o, const std::vector<std::string>& warnings) {
  auto r = http::Response::json(status, json::serialize(o));
  add_warnings(r, warnings);
  return r;
}

Answer<Format> negotiate(const Call& call) {
  Format f;
  if (auto v = call.param("includeObject"); !v.empty()) f.include_object = v;
  auto accept = call.http->headers.get("accept");
  if (accept.empty()) return f;
  bool unknown_form = false;
  for (auto part : text::split(accept, ',')) {
    auto p = text::trim(part);
    auto media = text::trim(p.substr(0, p.find(';')));
    bool json = media == "application/json" || media == "*/*" || media == "application/*";
    // Clients that prefer protobuf take JSON as well, or they get it all the same, as they ask for nothing else.
    bool other =
        media == "application/vnd.kubernetes.protobuf" || media == "application/yaml" || media == "application/cbor";
    if (!json && !other) continue;
    f.yaml = media == "application/yaml";
    bool known_version = true;
    for (auto option : text::split(p, ';'))
      if (auto o = text::trim(option); o.starts_with("v=")) known_version = o == "v=v1" || o == "v=v1beta1";
    if (!known_version) {
      unknown_form = true;
      continue;
    }
    if (p.find("as=Table") != std::string_view::npos) {
      f.as = Format::As::table;
      f.table_version = p.find("v=v1beta1") != std::string_view::npos ? "v1beta1" : "v1";
      return f;
    }
    if (p.find("as=PartialObjectMetadata") != std::string_view::npos) {
      f.as = Format::As::partial;
      return f;
    }
    if (p.find("as=") != std::string_view::npos) {
      unknown_form = true;
      continue;
    }
    return f;
  }
  auto e =
      make_error(406, "NotAcceptable",
                 unknown_form ? "only the following media types are accepted: application/json, application/yaml, "
                                "application/vnd.kubernetes.protobuf"
                              : "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
                                "application/vnd.kubernetes.protobuf, application/json;stream=watch, "
                                "application/vnd.kubernetes.protobuf;stream=watch");
  e.show_details = !unknown_form;
  return std::unexpected(std::move(e));
}

http::Response in_format(http::Response r, const Format& f) {
  auto* text = std::get_if<std::string>(&r.body);
  if (!f.yaml || text == nullptr) return r;
  auto document = json::parse(*text, 256);
  if (!document) return r;
  *text = yaml_text(*document);
  r.headers.set("Content-Type", std::string("application/yaml"));
  return r;
}

namespace {
http::Response json_format(int status, const Call& call, const Format& f, const ObjectPtr& o,
                           const std::vector<std::string>& warnings) {
  if (f.as == Format::As::table) {
    TableOptions options{f.include_object == "None", f.include_object == "Object", f.table_version};
    auto meta = json::serialize(Object{{"resourceVersion", text_at(*o, "metadata.resourceVersion")}});
    auto r = http::Response::json(status, table_document(*call.target.kind, *call.target.version, {o}, meta, options));
    add_warnings(r, warnings);
    return r;
  }
  if (f.as == Format::As::partial) {
    Object p{{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}};
    if (const auto* m = o->if_contains("metadata")) p["metadata"] = *m;
    return object_response(status, p, warnings);
  }
  return object_response(status, *o, warnings);
}
}  // namespace

http::Response format_response(int status, const Call& call, const Format& f, const ObjectPtr& o,
                               const std::vector<std::string>& warnings) {
  return in_format(json_format(status, call, f, o, warnings), f);
}

task::Task<Answer<std::string>> read_body(Call& call) {
  auto body = co_await http::read_all(*call.http, kBodyLimit);
  if (!body) {
    if (body.error().code == Code::too_large)
      co_return std::unexpected(
          make_error(413, "RequestEntityTooLarge", fmt::format("Request entity too large: limit is {}", kBodyLimit)));
    co_return std::unexpected(bad_request(body.error().message));
  }
  co_return std::move(*body);
}

task::Task<Answer<Object>> read_object(Call& call, std::vector<std::string>& faults) {
  auto type = call.http->headers.get("content-type");
  auto media = text::lower(text::trim(type.substr(0, type.find(';'))));
  auto body = co_await read_body(call);
  if (!body) co_return std::unexpected(body.error());
  if (media == "application/vnd.kubernetes.protobuf") co_return decode_protobuf(*body);
  if (text::trim(*body) == "null") co_return Object{};
  bool yaml = media == "application/yaml" || media == "application/x-yaml" || media == "text/yaml";
  if (!media.empty() && media != "application/json" && media != "*/*" && !yaml)
    co_return std::unexpected(unsupported_media_type(fmt::format(
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        "application/yaml, application/vnd.kubernetes.protobuf")));
  auto o = decode_text(*body, yaml, faults);
  if (o && call.target.kind && call.target.kind->crd && call.verb != "delete" && call.verb != "deletecollection" &&
      call.target.subresource != "scale" && kind_of(*o).empty())
    co_return std::unexpected(
        bad_request(fmt::format("the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in "
                                "'{}' ({})",
                                call.target.kind->kind, *body, snippet(*body))));
  if (!o && call.target.kind) {
    auto e = o.error();
    e.message =
        fmt::format("the object provided is unrecognized (must be of type {}): {}", call.target.kind->kind, e.message);
    co_return std::unexpected(std::move(e));
  }
  co_return o;
}

Answer<WriteOptions> write_options(const Call& call) {
  WriteOptions o;
  o.user = call.user;
  for (const auto& v : call.params("dryRun")) {
    if (v != "All")
      return std::unexpected(invalid_object(
          "meta.k8s.io", "CreateOptions", "",
          {FieldError{"FieldValueNotSupported", "dryRun",
                      fmt::format("Unsupported value: []string{{\"{}\"}}: supported values: \"All\"", v)}}));
    o.dry_run = true;
  }
  if (auto m = call.param("fieldManager"); !m.empty()) {
    if (m.size() > 128)
      return std::unexpected(invalid_object("meta.k8s.io", "CreateOptions", "", {too_long("fieldManager", 128)}));
    for (std::size_t i = 0; i < m.size(); ++i)
      if (auto ch = static_cast<unsigned char>(m[i]); ch < 0x20 || ch == 0x7f) {
        std::string shown;
        for (unsigned char x : m)
          shown += x < 0x20 || x == 0x7f ? fmt::format("\\x{:02x}", x) : std::string(1, static_cast<char>(x));
        return std::unexpected(invalid_object(
            "meta.k8s.io", "CreateOptions", "",
            {FieldError{
                "FieldValueInvalid", "fieldManager",
                fmt::format("Invalid value: \"{}\": invalid character U+{:04X} (at position {})", shown, ch, i)}}));
      }
    o.manager = m;
  } else {
    // As the real server: the program's name from its User-Agent.
    auto agent = call.http->headers.get("user-agent");
    agent = agent.substr(0, agent.find('/'));
    if (!agent.empty()) o.manager = std::string(agent.substr(0, 128));
  }
  auto v = call.param("fieldValidation");
  if (v == "Strict")
    o.validation = FieldValidation::strict;
  else if (v == "Ignore")
    o.validation = FieldValidation::ignore;
  else if (!v.empty() && v != "Warn")
    return std::unexpected(
        invalid_object("meta.k8s.io", "CreateOptions", "",
                       {not_supported("fieldValidation", Value(v), {"", "Ignore", "Strict", "Warn"})}));
  o.force = call.flag("force");
  return o;
}

}  // namespace mr::kube
