#include "serving/server_info.h"

#include "json/writer.h"

namespace mr::serving {

namespace {

void duration(json::Writer& w, std::string_view key, std::uint64_t count, std::uint64_t ns) {
  w.key(key);
  w.begin_object();
  w.field("count", count);
  w.field("ns", ns);
  w.end_object();
}

void tensor_config(json::Writer& w, std::string_view name, DataType type, const std::vector<std::int64_t>& shape) {
  w.begin_object();
  w.field("name", name);
  w.field("data_type", fmt::format("TYPE_{}", type == DataType::bytes ? "STRING" : data_type_name(type)));
  w.key("dims");
  w.begin_array();
  for (auto d : shape) w.integer(d);
  w.end_array();
  w.end_object();
}

}  // namespace

const std::vector<std::string_view>& server_extensions() {
  static const std::vector<std::string_view> all{"binary_tensor_data", "model_repository", "model_configuration",
                                                 "statistics", "parameters"};
  return all;
}

std::string server_metadata() {
  std::string out;
  json::Writer w(out);
  w.begin_object();
  w.field("name", kServerName);
  w.field("version", kServerVersion);
  w.key("extensions");
  w.begin_array();
  for (auto e : server_extensions()) w.string(e);
  w.end_array();
  w.end_object();
  return out;
}

std::string statistics(const std::vector<std::shared_ptr<const Model>>& models) {
  std::string out;
  json::Writer w(out);
  w.begin_object();
  w.key("model_stats");
  w.begin_array();
  for (const auto& m : models) {
    auto s = m->traffic->snapshot();
    w.begin_object();
    w.field("name", m->name);
    w.field("version", m->version);
    w.field("last_inference", s.last_ms);
    w.field("inference_count", s.rows);
    w.field("execution_count", s.runs);
    w.key("inference_stats");
    w.begin_object();
    duration(w, "success", s.answered, s.answered_ns);
    duration(w, "fail", s.refused, s.refused_ns);
    duration(w, "queue", s.waited, s.waited_ns);
    duration(w, "compute_input", 0, 0);
    duration(w, "compute_infer", s.runs, s.run_ns);
    duration(w, "compute_output", 0, 0);
    duration(w, "cache_hit", 0, 0);
    duration(w, "cache_miss", 0, 0);
    w.end_object();
    w.key("batch_stats");
    w.begin_array();
    w.end_array();
    w.end_object();
  }
  w.end_array();
  w.end_object();
  return out;
}

std::vector<Signature::Out> input_tensors(const Signature& s) {
  std::vector<Signature::Out> out;
  for (std::size_t i = 0; i < s.columns.size(); ++i) {
    const auto& c = s.columns[i];
    const char* codec = c.type == "string"              ? "str"
                        : c.type == "binary"            ? "base64"
                        : c.type == "datetime"          ? "datetime"
                        : c.datatype == DataType::bytes ? "pd_json"
                                                        : "np";
    out.push_back({c.name.empty() ? fmt::format("input-{}", i) : c.name, c.datatype, {-1, 1}, codec});
  }
  for (const auto& t : s.tensors) out.push_back({t.name, t.type, t.shape, "np"});
  if (s.tensor) out.push_back({s.tensor_name.empty() ? "input-0" : s.tensor_name, s.tensor_type, s.tensor_shape, "np"});
  return out;
}

std::string_view request_codec(const Model& m) {
  const auto& s = m.loaded.signature;
  if (!s.columns.empty()) return "pd";
  if (!s.tensors.empty()) return "dict";
  if (s.tensor) return s.tensor_name.empty() ? "np" : "dict";
  return m.content_type;
}

std::string model_config(const Model& m) {
  const auto& s = m.loaded.signature;
  std::string out;
  json::Writer w(out);
  w.begin_object();
  w.field("name", m.name);
  w.field("platform", "");
  w.field("backend", "millrace");
  w.field("max_batch_size", 0);
  w.key("input");
  w.begin_array();
  for (const auto& t : input_tensors(s)) tensor_config(w, t.name, t.type, t.shape);
  w.end_array();
  w.key("output");
  w.begin_array();
  for (const auto& o : s.outputs) tensor_config(w, o.name, o.type, o.shape);
  w.end_array();
  w.end_object();
  return out;
}

}  // namespace mr::serving
