// A small blocking S3 client (list, head, get, put, delete, uploads in parts; SigV4), for worker threads and the
// command line. One object, one thread at a time.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "http/client.h"
#include "objects/signature.h"

namespace mr::objects {

class Client {
 public:
  Client(std::string endpoint, Credentials credentials)
      : endpoint_(std::move(endpoint)), credentials_(std::move(credentials)) {}
  struct Entry {
    std::string key;  // or a common prefix, with its delimiter
    std::uint64_t size = 0;
    bool prefix = false;
    std::string etag;  // as the server sent it
  };
  // Everything with a prefix; with a delimiter, common prefixes stand for what lies below them.
  Result<std::vector<Entry>> list(const std::string& bucket, const std::string& prefix,
                                  const std::string& delimiter = {});
  // Uploads `bytes` as one object.
  Result<> put(const std::string& bucket, const std::string& key, std::string_view bytes);
  // A missing key is fine.
  Result<> remove(const std::string& bucket, const std::string& key);
  // Streams an object to `sink`; false from it ends the transfer.
  Result<> get(const std::string& bucket, const std::string& key, const std::function<bool(std::string_view)>& sink);

  struct Meta {
    std::uint64_t size = 0;
    std::string etag;  // quoted, as the server sent it
    std::int64_t modified_s = 0;
  };
  Result<Meta> head(const std::string& bucket, const std::string& key);
  // Some bytes of the object that has this ETag; an object that was replaced since is an error.
  Result<std::string> get_range(const std::string& bucket, const std::string& key, std::uint64_t offset,
                                std::uint64_t length, const std::string& etag);

  // An upload in parts: the object appears with complete_upload. Parts count from 1.
  struct Part {
    int number = 0;
    std::string etag;
  };
  Result<std::string> create_upload(const std::string& bucket, const std::string& key);
  Result<std::string> put_part(const std::string& bucket, const std::string& key, const std::string& upload_id,
                               int number, std::string_view bytes);
  Result<> complete_upload(const std::string& bucket, const std::string& key, const std::string& upload_id,
                           const std::vector<Part>& parts);
  Result<> abort_upload(const std::string& bucket, const std::string& key, const std::string& upload_id);

 private:
  Result<http::ClientResponse> send(http::Method method, const std::string& path, const std::string& query,
                                    std::string_view body, std::function<bool(std::string_view)> sink,
                                    const std::vector<std::pair<std::string, std::string>>& more = {});
  std::string endpoint_;
  Credentials credentials_;
  http::Client http_;
};

}  // namespace mr::objects
