#include "cli/model_storage.h"

#include <filesystem>
#include <fstream>

#include "cli/model_fetch.h"
#include "objects/client.h"
#include "text/uri.h"

namespace mr::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxModelFiles = 10000;

// Streams one object into a file below `target`; the relative name comes from a server and is checked.
Result<> fetch_object(objects::Client& client, const std::string& bucket, const std::string& key,
                      const std::string& relative, const std::string& target, const std::atomic<bool>& stop) {
  MR_TRY(auto safe, text::safe_relative_path(relative));
  auto path = fs::path(target) / safe;
  std::error_code ec;
  fs::create_directories(path.parent_path(), ec);
  std::ofstream out(path, std::ios::binary);
  if (!out) return fail(Code::internal, fmt::format("cannot write {}", path.string()));
  MR_CHECK(client.get(bucket, key, [&](std::string_view piece) {
    return !stop.load() && static_cast<bool>(out.write(piece.data(), static_cast<std::streamsize>(piece.size())));
  }));
  out.close();
  if (stop.load()) return fail(Code::cancelled, "the download was stopped");
  if (!out) return fail(Code::resource_exhausted, "a fetched file cannot be written; is the disk full?");
  return {};
}

Result<std::size_t> fetch_bucket(const OwnStores& own, const serving::S3Access& access, const std::string& bucket,
                                 std::string prefix, const std::string& target, const std::atomic<bool>& stop) {
  bool ours = access.endpoint.empty();
  objects::Credentials keys = ours ? own.keys : objects::Credentials{access.access_key, access.secret_key};
  objects::Client client(ours ? own.s3_url : access.endpoint, keys);
  while (prefix.ends_with('/')) prefix.pop_back();
  MR_TRY(auto entries, client.list(bucket, prefix));
  if (entries.size() > kMaxModelFiles) return fail(Code::too_large, "the model has more files than are fetched");
  std::size_t n = 0;
  for (const auto& e : entries) {
    if (e.key.ends_with('/')) continue;
    std::string relative;
    if (e.key == prefix)
      relative = prefix.substr(prefix.rfind('/') + 1);  // a single object
    else if (prefix.empty())
      relative = e.key;
    else if (e.key.starts_with(prefix + "/"))
      relative = e.key.substr(prefix.size() + 1);
    else
      continue;  // "model" does not mean "model-2/…"
    MR_CHECK(fetch_object(client, bucket, e.key, relative, target, stop));
    ++n;
  }
  return n;
}

std::string state_of_bucket(const OwnStores& own, const serving::S3Access& access, const std::string& bucket,
                            std::string prefix) {
  bool ours = access.endpoint.empty();
  objects::Client client(ours ? own.s3_url : access.endpoint,
                         ours ? own.keys : objects::Credentials{access.access_key, access.secret_key});
  while (prefix.ends_with('/')) prefix.pop_back();
  return bucket_state(client, ours ? "own" : access.endpoint, bucket, prefix);
}

}  // namespace

serving::StorageOptions model_storage(const Settings& s, OwnStores own) {
  serving::StorageOptions o;
  Settings inside = s;
  inside.tracking_uri = own.tracking_url;
  inside.s3_endpoint = own.s3_url;
  o.tracked = [inside](const std::string& uri, const std::string& target) -> Result<std::string> {
    return fetch_model_into(inside, uri, target);
  };
  o.tracked_state = [inside, own](const std::string& uri) -> std::string {
    auto location = model_location(inside, uri);
    if (!location) return {};
    auto u = text::parse_uri(*location);
    auto path = u.path.substr(std::min(u.path.find_first_not_of('/'), u.path.size()));
    // Artifacts that this program's tracking server keeps are objects of one of its buckets.
    if (u.scheme == "mlflow-artifacts")
      return u.authority.empty() ? state_of_bucket(own, {}, own.artifacts, path) : std::string();
    return u.scheme == "s3" ? state_of_bucket(own, {}, u.authority, path) : std::string();
  };
  o.bucket_state = [own](const serving::S3Access& access, const std::string& bucket, const std::string& prefix) {
    return state_of_bucket(own, access, bucket, prefix);
  };
  o.bucket = [own = std::move(own)](const serving::S3Access& access, const std::string& bucket,
                                    const std::string& prefix, const std::string& target,
                                    const std::atomic<bool>& stop) {
    return fetch_bucket(own, access, bucket, prefix, target, stop);
  };
  return o;
}

}  // namespace mr::cli
