#include "pipelines/types.h"

#include <array>

#include "crypto/digest.h"
#include "json/parse.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {
constexpr std::array<std::string_view, 8> kNames = {
    "RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "SUCCEEDED", "SKIPPED", "FAILED", "CANCELING", "CANCELED"};
}  // namespace

std::string_view state_name(State s) { return kNames[static_cast<std::size_t>(s)]; }

std::optional<State> parse_state(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<State>(i);
  return std::nullopt;
}

std::string task_id(std::string_view run_id, std::string_view path) {
  auto d = text::hex(crypto::digest(crypto::Algorithm::sha256, fmt::format("{}/{}", run_id, path)));
  d[12] = '5';  // the version and the variant of a name-based UUID
  d[16] = "89ab"[(d[16] <= '9' ? d[16] - '0' : d[16] - 'a' + 10) & 3];
  return fmt::format("{}-{}-{}-{}-{}", d.substr(0, 8), d.substr(8, 4), d.substr(12, 4), d.substr(16, 4),
                     d.substr(20, 12));
}

Value to_json(const Artifact& a) {
  Object type;
  if (!a.type.instance.empty())
    type["instanceSchema"] = a.type.instance;
  else
    type["schemaTitle"] = a.type.title;
  if (!a.type.version.empty()) type["schemaVersion"] = a.type.version;
  Object o{{"name", a.name}, {"type", std::move(type)}, {"uri", a.uri}, {"metadata", a.metadata}};
  if (!a.custom_path.empty()) o["customPath"] = a.custom_path;
  if (a.id != 0) o["artifactId"] = std::to_string(a.id);
  return o;
}

Result<Artifact> artifact_from_json(const Value& v) {
  if (!v.is_object()) return fail(Code::invalid_argument, "an artifact must be a JSON object");
  auto text = [&](std::string_view camel, std::string_view snake) {
    auto s = json::string_or_empty(v, camel);
    return std::string(s.empty() ? json::string_or_empty(v, snake) : s);
  };
  Artifact a;
  a.name = text("name", "name");
  a.uri = text("uri", "uri");
  a.custom_path = text("customPath", "custom_path");
  if (const auto* type = json::find(v, "type")) {
    auto member = [&](std::string_view camel, std::string_view snake) {
      auto s = json::string_or_empty(*type, camel);
      return std::string(s.empty() ? json::string_or_empty(*type, snake) : s);
    };
    a.type.title = member("schemaTitle", "schema_title");
    a.type.version = member("schemaVersion", "schema_version");
    a.type.instance = member("instanceSchema", "instance_schema");
  }
  if (const auto* m = json::find(v, "metadata"); m != nullptr && m->is_object()) a.metadata = m->get_object();
  if (auto id = json::string_or_empty(v, "artifactId"); !id.empty())
    a.id = std::strtoll(std::string(id).c_str(), nullptr, 10);
  return a;
}

}  // namespace mr::pipelines
