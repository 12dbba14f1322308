// The bytes of a task's output artifact as {"data": base64}, sent piece by piece.
#include <fcntl.h>

#include <filesystem>

#include "crypto/random.h"
#include "pipelines/routes.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

constexpr std::size_t piece_bytes = 192U << 10;  // a multiple of three: only the last piece is padded

// An artifact's file as a descriptor: fetched under a name that is taken away again at once.
task::Task<Result<Fd>> open_artifact(Service::Impl& s, std::string uri) {
  std::error_code ec;
  std::filesystem::create_directories(s.options.scratch, ec);
  const auto path = fmt::format("{}/{}", s.options.scratch, crypto::random_hex(8));
  auto fetched = co_await s.options.fetch_artifact(std::move(uri), path);
  Fd fd;
  if (fetched && std::filesystem::is_regular_file(path, ec)) fd = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::filesystem::remove_all(path, ec);
  if (!fetched) co_return std::unexpected(fetched.error());
  if (!fd) co_return invalid("the artifact is a folder; its files are objects below its URI");
  co_return std::move(fd);
}

struct ArtifactStream {
  Fd fd;
  off_t offset = 0;
  enum class Part : std::uint8_t { head, data, over } part = Part::head;
};

task::Task<Result<std::string>> next_piece(ArtifactStream& a) {
  if (a.part == ArtifactStream::Part::head) {
    a.part = ArtifactStream::Part::data;
    co_return R"({"data":")";
  }
  if (a.part == ArtifactStream::Part::over) co_return std::string();
  auto piece = co_await task::run_on(task::disk_pool(), [&]() -> Result<std::string> {
    std::string bytes(piece_bytes, '\0');
    std::size_t have = 0;
    while (have < bytes.size()) {
      const auto n = ::pread(a.fd.get(), bytes.data() + have, bytes.size() - have, a.offset + static_cast<off_t>(have));
      if (n < 0) return fail_errno("cannot read an artifact", errno);
      if (n == 0) break;
      have += static_cast<std::size_t>(n);
    }
    bytes.resize(have);
    return bytes;
  });
  if (!piece) co_return fail(Code::unavailable, "too many files are being read; try again later");
  if (!*piece) co_return std::unexpected(piece->error());
  a.offset += static_cast<off_t>((*piece)->size());
  auto text = text::base64_encode(**piece);
  if ((*piece)->size() < piece_bytes) {
    a.part = ArtifactStream::Part::over;
    text += "\"}";
  }
  co_return text;
}

task::Task<http::Response> read_artifact_of(Service::Impl& s, http::Request& rq) {
  const auto refuse = [](const Error& e) { return upload_error_response(e, "Failed to read artifact"); };
  const auto &run_id = rq.params[0], &node_id = rq.params[1], &name = rq.params[2];
  auto run = s.store.run(run_id);
  if (!run) co_return refuse(run.error());
  auto nodes = co_await s.runs.nodes(run_id);
  if (!nodes) co_return refuse(nodes.error());
  std::string uri;
  for (const auto& n : *nodes) {
    if (n.path != node_id && (n.pod.empty() || n.pod != node_id) && task_id(run_id, n.path) != node_id) continue;
    if (auto it = n.output_artifacts.find(name); it != n.output_artifacts.end() && !it->second.empty())
      uri = it->second[0].uri;
  }
  if (uri.empty())
    co_return refuse({Code::not_found, fmt::format("artifact not found: {} of {}", name, node_id), {}, {}});
  auto fd = co_await open_artifact(s, uri);
  if (!fd) co_return refuse(fd.error());
  auto stream = std::make_shared<ArtifactStream>();
  stream->fd = std::move(*fd);
  http::Response r;
  r.headers.add("Content-Type", "application/json");
  r.headers.add("Cache-Control", "no-cache, private");
  r.body = http::StreamBody([stream] { return next_piece(*stream); });
  co_return r;
}

}  // namespace

void add_artifact_read_routes(http::Router& router, Service::Impl& s) {
  if (!s.options.fetch_artifact) return;
  for (const auto* version : {"v2beta1", "v1beta1"})
    router.add(http::Method::get,
               fmt::format("/apis/{}/runs/{{run_id}}/nodes/{{node_id}}/artifacts/{{artifact_name}}:read", version),
               [&s](http::Request& rq) { return read_artifact_of(s, rq); });
}

}  // namespace mr::pipelines
