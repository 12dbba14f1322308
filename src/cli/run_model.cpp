// `millrace model explain|predict`: which engine a model gets, and what it computes of a file.
#include <fstream>
#include <iostream>
#include <iterator>

#include "cli/commands.h"
#include "cli/listener.h"
#include "cli/model_fetch.h"
#include "cli/settings_serving.h"
#include "json/parse.h"
#include "json/writer.h"
#include "serving/check.h"
#include "serving/columns.h"
#include "serving/csv.h"
#include "serving/model_info.h"
#include "serving/onnx/locate.h"
#include "text/text.h"

namespace mr::cli {

namespace {

constexpr std::size_t kInputLimit = 256U << 20;

struct Explained {
  std::string engine;  // native, python or none
  std::string description, reason;
  std::optional<serving::ModelInfo> info;
  std::optional<Result<serving::PythonEnvironment>> environment;
};

Explained explain(const std::string& path, const serving::LoadOptions& options) {
  Explained out;
  if (auto info = serving::read_model_info(path)) out.info = std::move(*info);
  auto onnx = serving::onnx::find_model(path);
  if (onnx && *onnx && options.engine != serving::EngineChoice::python) {
    if (auto library = options.onnx->library(**onnx); library && library->path.empty()) {
      out.engine = "native";
      out.description = fmt::format("ONNX Runtime of the model's own environment ({}), made when it is first served",
                                    library->environment);
      return out;
    }
  }
  auto native = !onnx                                                      ? std::unexpected(onnx.error())
                : *onnx && options.engine != serving::EngineChoice::python ? options.onnx->start(**onnx)
                                                                           : serving::load_model(path);
  if (native && options.engine != serving::EngineChoice::python) {
    out.engine = "native";
    out.description = native->engine->description();
    return out;
  }
  out.reason = native ? "--engine python" : native.error().message;
  out.engine = "none";
  bool elsewhere =
      native || serving::may_be_served_elsewhere(native.error()) || options.engine == serving::EngineChoice::python;
  if (options.engine == serving::EngineChoice::native || !elsewhere) return out;
  if (!out.info || out.info->loader_module.empty()) return out;
  out.environment = options.python->environment(path);
  if (*out.environment) out.engine = "python";
  return out;
}

void print_json(const std::string& uri, const Explained& e) {
  std::string text;
  json::Writer w(text, 2);
  w.begin_object();
  w.field("uri", uri);
  w.field("engine", e.engine);
  if (!e.description.empty()) w.field("description", e.description);
  if (!e.reason.empty()) w.field("reason", e.reason);
  if (e.info) {
    w.key("flavors");
    w.begin_array();
    for (const auto& f : e.info->flavors) w.string(f);
    w.end_array();
    w.field("loader_module", e.info->loader_module);
    w.field("mlflow_version", e.info->mlflow_version);
    w.key("versions");
    w.begin_object();
    for (const auto& [k, v] : e.info->versions) w.field(k, v);
    w.end_object();
    w.key("input_example");
    w.boolean(!e.info->example.empty());
  }
  if (e.environment) {
    w.key("environment");
    w.begin_object();
    const auto& environment = *e.environment;
    if (environment) {
      w.field("python", environment->python);
      if (!environment->note.empty()) w.field("note", environment->note);
      w.key("packages");
      w.integer(static_cast<std::int64_t>(environment->packages));
      w.key("cached");
      w.boolean(environment->cached);
    } else {
      w.field("error", environment.error().message);
    }
    w.end_object();
  }
  w.end_object();
  fmt::print("{}\n", text);
}

void print_text(const std::string& uri, const Explained& e) {
  auto line = [](std::string_view key, std::string_view value) {
    if (!value.empty()) fmt::print("{:<12} {}\n", key, value);
  };
  line("model", uri);
  if (e.info) {
    line("flavor", e.info->loader_module);
    line("written by", e.info->mlflow_version.empty() ? "" : "mlflow " + e.info->mlflow_version);
  }
  line("engine", e.engine == "none" ? "none: it cannot be served" : e.engine);
  line("computes", e.description);
  line("reason", e.reason);
  if (!e.environment) return;
  const auto& environment = *e.environment;
  if (!environment) {
    line("environment", environment.error().message);
    return;
  }
  line("environment", fmt::format("Python {}, {} requirements, {}", environment->python, environment->packages,
                                  environment->cached ? "made before" : "made when the model is first served"));
  line("note", environment->note);
}

Result<std::string> read_input(const std::string& file) {
  std::string text;
  if (file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    std::ifstream in(file, std::ios::binary);
    if (!in) return fail(Code::not_found, fmt::format("--input {} cannot be read", file));
    text.assign(std::istreambuf_iterator<char>(in), {});
  }
  if (text.size() > kInputLimit) return fail(Code::too_large, fmt::format("--input {} is larger than is taken", file));
  return text;
}

Result<> predict(const Settings& s, const std::string& path, serving::LoadOptions options) {
  if (s.model.input.empty()) return fail(Code::invalid_argument, "give --input FILE: rows as .json or .csv");
  MR_TRY(auto text, read_input(s.model.input));
  serving::Repository repository(std::move(options));
  MR_CHECK(repository.add({"model", "", path}));
  MR_TRY(auto model, repository.find("model", ""));
  const auto& engine = *model->loaded.engine;
  const bool csv_file = s.model.input.ends_with(".csv");
  if (!serving::reads_rows(*model) && (csv_file || !text.starts_with('['))) {  // the model's own library reads it
    MR_TRY(auto answer, engine.score(csv_file ? "text/csv" : "application/json", text));
    if (answer.status != 200) return fail(Code::invalid_argument, answer.body);
    fmt::print("{}\n", answer.body);
    return {};
  }
  auto frame = [&]() -> Result<serving::Frame> {
    if (csv_file) {
      MR_TRY(auto csv, serving::read_csv(text));
      return serving::frame_of_table(*model, csv.table, serving::CellRules::mlflow);
    }
    MR_TRY(auto document, json::parse(text));
    return serving::frame_of_document(*model, document);
  }();
  if (!frame) return std::unexpected(frame.error());
  MR_TRY(auto output, engine.predict(*frame));
  std::string out = R"({"predictions":)";
  serving::append_predicted(out, output, false);
  out += "}\n";
  fmt::print("{}", out);
  return {};
}

}  // namespace

int run_model(const Settings& s) {
  auto options = load_options(s);
  if (!options) return report(options.error());
  std::optional<FetchFolder> folder;
  auto path = fetch_model(s, s.model.uri, folder);
  auto failed = [](Error e) {
    if (e.code == Code::invalid_argument) e.code = Code::internal;  // trouble with the model is no wrong command line
    return report(e);
  };
  if (!path) return failed(path.error());
  std::error_code ec;
  if (!std::filesystem::exists(*path, ec))
    return failed(Error{Code::not_found, fmt::format("there is no model at {}", *path), {}, {}});
  if (s.model.action == "predict") {
    auto done = predict(s, *path, std::move(*options));
    return done ? 0 : failed(done.error());
  }
  auto e = explain(*path, *options);
  if (s.model.json)
    print_json(s.model.uri, e);
  else
    print_text(s.model.uri, e);
  return e.engine == "none" ? 1 : 0;
}

}  // namespace mr::cli
