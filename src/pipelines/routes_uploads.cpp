// Pipelines that come as the file of a form. Everything else of such a request stands in its query string, and errors
// have a form of their own.
#include "json/parse.h"
#include "pipelines/package_file.h"
#include "pipelines/routes.h"

namespace mr::pipelines {

namespace {

constexpr std::size_t form_overhead = 1U << 20;

Result<std::map<std::string, std::string>> tags_of(std::string_view text) {
  std::map<std::string, std::string> tags;
  if (text.empty()) return tags;
  const auto wrong = [] {
    return invalid("Failed to parse tags query parameter. Expected JSON object with string keys and values");
  };
  auto v = json::parse(text);
  if (!v || !v->is_object()) return wrong();
  for (const auto& [key, value] : v->get_object()) {
    if (!value.is_string()) return wrong();
    tags.emplace(key, value.get_string());
  }
  MR_CHECK(check_tags(tags));
  return tags;
}

struct Upload {
  std::string name, display_name, file;
  std::map<std::string, std::string> tags;
  Value spec;
};

task::Task<Result<Upload>> read_upload(Service::Impl& s, Call& c) {
  MR_CO_TRY(c.body, co_await http::read_all(c.request, kPackageLimit + form_overhead));
  MR_CO_TRY(auto file, form_file(c.request.headers.get("Content-Type"), c.body, "uploadfile"));
  Upload u;
  u.display_name = c.arg("display_name");
  u.name = c.arg("name");
  if (u.name.empty()) u.name = u.display_name;
  if (u.name.empty()) u.name = file.name;
  if (u.display_name.empty()) u.display_name = u.name;
  MR_CO_TRY(u.tags, tags_of(c.arg("tags")));
  MR_CO_TRY(auto package, co_await s.read_package(file.name, file.bytes));
  u.spec = std::move(package.spec);
  co_return u;
}

Answer upload_pipeline(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto u, co_await read_upload(s, c));
  Pipeline p;
  p.name = u.name;
  p.display_name = u.display_name;
  p.description = c.arg("description");
  p.ns = s.namespace_or_default(c.arg("namespace"));
  p.tags = std::move(u.tags);
  p.created_ms = s.now_ms();
  MR_CO_CHECK(check_length("Pipeline.Name", p.name, 128));
  MR_CO_CHECK(check_length("Pipeline.Namespace", p.ns, 63));
  Version v;
  v.name = p.name;
  v.display_name = p.display_name;
  v.description = p.description;
  v.code_url = c.arg("code_source_url");
  v.spec = std::move(u.spec);
  v.created_ms = p.created_ms;
  MR_CO_TRY(auto made, co_await s.store.create_pipeline(std::move(p), std::move(v)));
  co_return write_message(wire::kPipeline, to_message(made));
}

Answer upload_version(Service::Impl& s, Call& c) {
  Version v;
  v.pipeline_id = c.arg("pipelineid");
  if (v.pipeline_id.empty()) co_return invalid("the query parameter pipelineid is missing");
  MR_CO_CHECK(s.store.pipeline(v.pipeline_id));
  MR_CO_TRY(auto u, co_await read_upload(s, c));
  v.name = u.name;
  v.display_name = u.display_name;
  v.description = c.arg("description");
  v.code_url = c.arg("code_source_url");
  v.tags = std::move(u.tags);
  v.spec = std::move(u.spec);
  v.created_ms = s.now_ms();
  MR_CO_CHECK(check_length("PipelineVersion.Name", v.name, 127));
  MR_CO_TRY(auto made, co_await s.store.create_version(std::move(v)));
  co_return write_message(wire::kVersion, to_message(made));
}

void add_upload(http::Router& router, Service::Impl& s, std::string_view path, Endpoint endpoint,
                std::string_view context) {
  router.add(http::Method::post, path, [&s, endpoint, context](http::Request& rq) -> task::Task<http::Response> {
    Call call{rq, text::parse_query(rq.query), {}};
    auto answer = co_await endpoint(s, call);
    if (!answer) co_return upload_error_response(answer.error(), context);
    co_return http::Response::json(200, std::move(*answer));
  });
}

}  // namespace

void add_upload_routes(http::Router& router, Service::Impl& s) {
  add_upload(router, s, "/apis/v2beta1/pipelines/upload", upload_pipeline,
             "Failed to create a pipeline and a pipeline version");
  add_upload(router, s, "/apis/v2beta1/pipelines/upload_version", upload_version,
             "Failed to create a pipeline version");
}

}  // namespace mr::pipelines
