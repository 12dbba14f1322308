#include "cli/pipeline_client.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cli/client_api.h"
#include "json/parse.h"
#include "pipelines/package_file.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::cli {

namespace {

constexpr int kPipelinesPort = 8888, kKubernetesPort = 6443;
constexpr std::size_t kMostPages = 500;

// The server beside the Kubernetes API that a kubeconfig of this program names.
std::optional<std::string> beside_kubernetes(const std::string& kubeconfig) {
  auto access = read_access({kubeconfig});
  if (!access) return std::nullopt;
  auto authority = text::parse_uri(access->server).authority;
  auto colon = authority.rfind(':');
  if (colon == std::string::npos || !authority.starts_with("127.")) return std::nullopt;
  auto port = text::to_i64(std::string_view(authority).substr(colon + 1));
  if (!port || *port < kKubernetesPort || *port > kKubernetesPort + 50'000) return std::nullopt;
  return fmt::format("http://{}:{}", authority.substr(0, colon), kPipelinesPort + *port - kKubernetesPort);
}

std::string find_server(const Settings& s) {
  const auto& p = s.pipelines;
  if (!p.server.empty()) return p.server;
  if (p.offset_given) return fmt::format("http://127.0.0.1:{}", kPipelinesPort + s.port_offset);
  std::optional<std::string> found;
  if (const char* files = std::getenv("KUBECONFIG"); !p.data_given && files != nullptr && *files != 0)
    found = beside_kubernetes(std::string(text::split(files, ':').front()));
  if (!found) found = beside_kubernetes(s.data + "/kubeconfig");
  return found.value_or(fmt::format("http://127.0.0.1:{}", kPipelinesPort));
}

Error error_of_answer(const http::ClientResponse& answer) {
  auto body = json::parse(answer.body, 64);
  std::string message;
  if (body)
    for (auto key : {"message", "error_message", "error"})
      if (message.empty()) message = json::string_or_empty(*body, key);
  if (message.empty()) message = fmt::format("the server answered {}", answer.status);
  auto code = answer.status == 404   ? Code::not_found
              : answer.status == 409 ? Code::already_exists
              : answer.status == 501 ? Code::unimplemented
              : answer.status >= 500 ? Code::unavailable
                                     : Code::invalid_argument;
  return {code, std::move(message), {}, {}};
}

bool looks_like_file(std::string_view what) {
  if (what.contains('/')) return true;
  return std::ranges::any_of(
      std::initializer_list<std::string_view>{".yaml", ".yml", ".json", ".zip", ".gz", ".tgz", ".py"},
      [&](auto end) { return what.ends_with(end); });
}

}  // namespace

PipelinesApi::PipelinesApi(const Settings& s) : url_(find_server(s)) {
  while (url_.ends_with('/')) url_.pop_back();
  if (!url_.contains("://")) url_ = "http://" + url_;
  const auto& p = s.pipelines;
  if (!p.server.empty() || p.offset_given || p.data_given) flags_ = " --server " + url_;
}

Result<boost::json::value> PipelinesApi::send(http::Method method, const std::string& path, std::string_view body) {
  http::ClientRequest q;
  q.method = method;
  q.url = url_ + (path.starts_with("/apis/") ? "" : "/apis/v2beta1") + path;
  q.headers.add("User-Agent", "millrace");
  if (method == http::Method::post) q.headers.add("Content-Type", "application/json");
  q.body = body;
  auto answer = client_.send(q);
  if (!answer) {
    auto e = answer.error();
    if (e.code == Code::unavailable)
      e.message = fmt::format(
          "the pipelines API at {} does not answer: {}. Is the platform running (`millrace up`)? --server, "
          "--port-offset or --data say where",
          url_, e.message);
    return std::unexpected(std::move(e));
  }
  if (answer->status / 100 != 2) return std::unexpected(error_of_answer(*answer));
  auto v = json::parse(answer->body, 512);
  if (!v || !v->is_object())
    return fail(Code::data_loss, fmt::format("{} gave an answer that is no JSON object", url_));
  return v;
}

Result<boost::json::value> PipelinesApi::get(const std::string& path) { return send(http::Method::get, path, {}); }

Result<boost::json::value> PipelinesApi::post(const std::string& path, const boost::json::object& body) {
  return send(http::Method::post, path, json::serialize(body));
}

Result<boost::json::array> PipelinesApi::list(std::string path, std::string_view key) {
  add_query(path, "page_size", "200");
  boost::json::array all;
  std::string token;
  for (std::size_t page = 0; page < kMostPages; ++page) {
    auto one = path;
    add_query(one, "page_token", token);
    MR_TRY(auto answer, get(one));
    if (const auto* items = json::find(answer, key); items != nullptr && items->is_array())
      for (const auto& v : items->get_array()) all.push_back(v);
    token = json::string_or_empty(answer, "next_page_token");
    if (token.empty()) break;
  }
  return all;
}

Result<std::string> PipelinesApi::tail(const std::string& path, std::size_t most) {
  http::ClientRequest q;
  q.url = url_ + path;
  std::string end;
  q.sink = [&](std::string_view piece) {
    end += piece;
    if (end.size() > 4 * most) end.erase(0, end.size() - most);
    return true;
  };
  MR_TRY(auto answer, client_.send(q));
  if (answer.status / 100 != 2) return std::unexpected(error_of_answer(answer));
  if (end.size() > most) end.erase(0, end.size() - most);
  return end;
}

Result<boost::json::value> read_package(const std::string& path) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(path, ec))
    return fail(Code::not_found, fmt::format("there is no file {}", path));
  if (std::filesystem::file_size(path, ec) > pipelines::kPackageLimit)
    return fail(Code::too_large, fmt::format("{} is larger than {} MB", path, pipelines::kPackageLimit >> 20));
  if (path.ends_with(".py"))
    return fail(Code::invalid_argument,
                fmt::format("{} is the source of a pipeline; compile it first: kfp dsl compile --py {} --output "
                            "pipeline.yaml",
                            path, path));
  std::ifstream in(path, std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  if (!in) return fail(Code::failed_precondition, fmt::format("{} cannot be read", path));
  auto bytes = std::move(all).str();
  MR_TRY(auto text, pipelines::package_text(std::filesystem::path(path).filename().string(), bytes));
  return pipelines::parse_package(text);
}

Result<std::shared_ptr<const pipelines::Plan>> plan_of_run(PipelinesApi& api, const boost::json::value& run) {
  if (const auto* spec = json::find(run, "pipeline_spec")) return pipelines::compile(*spec);
  const auto* ref = json::find(run, "pipeline_version_reference");
  if (ref == nullptr) return fail(Code::not_found, "the run names no pipeline");
  MR_TRY(auto version, api.get(fmt::format("/pipelines/{}/versions/{}",
                                           text::percent_encode(json::string_or_empty(*ref, "pipeline_id")),
                                           text::percent_encode(json::string_or_empty(*ref, "pipeline_version_id")))));
  const auto* spec = json::find(version, "pipeline_spec");
  if (spec == nullptr) return fail(Code::not_found, "the version has no spec");
  return pipelines::compile(*spec);
}

Result<LoadedPipeline> load_pipeline(PipelinesApi& api, const std::string& what, const std::string& ns) {
  LoadedPipeline out;
  std::error_code ec;
  if (std::filesystem::exists(what, ec) || looks_like_file(what)) {
    MR_TRY(out.spec, read_package(what));
    MR_TRY(out.plan, pipelines::compile(out.spec));
    return out;
  }
  auto at = what.rfind('@');
  auto name = what.substr(0, at);
  auto version = at == std::string::npos ? std::string() : what.substr(at + 1);
  auto path = "/pipelines/names/" + text::percent_encode(name);
  add_query(path, "namespace", ns);
  auto pipeline = api.get(path);
  if (!pipeline && pipeline.error().code == Code::not_found)
    pipeline = api.get("/pipelines/" + text::percent_encode(name));
  if (!pipeline && pipeline.error().code == Code::not_found)
    return fail(Code::not_found, fmt::format("there is neither a file nor a pipeline {} on {} (millrace pipeline list)",
                                             name, api.url()));
  if (!pipeline) return std::unexpected(pipeline.error());
  out.pipeline_id = json::string_or_empty(*pipeline, "pipeline_id");
  auto versions = "/pipelines/" + text::percent_encode(out.pipeline_id) + "/versions?sort_by=created_at%20desc";
  boost::json::value found;
  if (version.empty()) {
    MR_TRY(auto newest, api.get(versions + "&page_size=1"));
    if (const auto* list = json::find(newest, "pipeline_versions");
        list != nullptr && list->is_array() && !list->get_array().empty())
      found = list->get_array().front();
  } else {
    MR_TRY(auto all, api.list(versions, "pipeline_versions"));
    for (const auto& v : all)
      for (auto key : {"name", "display_name", "pipeline_version_id"})
        if (found.is_null() && json::string_or_empty(v, key) == version) found = v;
  }
  if (found.is_null())
    return fail(Code::not_found,
                fmt::format("the pipeline {} has no version{}{}", name, version.empty() ? "" : " ", version));
  out.version_id = json::string_or_empty(found, "pipeline_version_id");
  MR_TRY(auto whole, api.get(fmt::format("/pipelines/{}/versions/{}", text::percent_encode(out.pipeline_id),
                                         text::percent_encode(out.version_id))));
  const auto* spec = json::find(whole, "pipeline_spec");
  if (spec == nullptr) return fail(Code::data_loss, "the server's version has no pipeline_spec");
  out.spec = *spec;
  MR_TRY(out.plan, pipelines::compile(out.spec));
  return out;
}

}  // namespace mr::cli
