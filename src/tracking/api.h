// What other rooms may use of tracking, and what tracking needs of them. Thread safe unless said otherwise.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/fd.h"
#include "http/message.h"
#include "task/task.h"

namespace mr::tracking {

// Where artifacts live: a tree of files below a root. Paths are relative, decoded, checked by the caller.
class ArtifactStore {
 public:
  virtual ~ArtifactStore() = default;
  struct Entry {
    std::string path;  // below the root
    bool is_dir = false;
    std::uint64_t size = 0;
  };
  struct Opened {
    Fd fd;
    // Set where the bytes are not in a file of this machine, instead of `fd`: reads `length` bytes from `offset` on.
    std::function<task::Task<Result<std::string>>(std::uint64_t offset, std::uint64_t length)> read;
    std::uint64_t size = 0;
    std::string etag;  // quoted
    std::int64_t modified_s = 0;
  };
  // The direct children of a folder, by name; empty when there is none.
  virtual task::Task<Result<std::vector<Entry>>> list(std::string path) = 0;
  // Errors: not_found; failed_precondition when the path is a folder.
  virtual task::Task<Result<Opened>> open(std::string path) = 0;
  // Streams the body to durable storage; the name shows only once all is there.
  virtual task::Task<Result<>> put(std::string path, http::BodyReader& body) = 0;
  // Removes a file or a whole folder; missing is fine.
  virtual task::Task<Result<>> remove(std::string path) = 0;

  // Uploads in parts, which the client sends straight to the storage; where the storage cannot, the error says so.
  struct PartUpload {
    std::string upload_id;
    std::vector<std::string> urls;  // one a part, from part 1 on
  };
  struct UploadedPart {
    int number = 0;
    std::string etag;
  };
  [[nodiscard]] virtual bool takes_parts() const { return false; }
  virtual task::Task<Result<PartUpload>> create_upload(std::string path, int parts);
  virtual task::Task<Result<>> complete_upload(std::string path, std::string upload_id,
                                               std::vector<UploadedPart> parts);
  virtual task::Task<Result<>> abort_upload(std::string path, std::string upload_id);

  // URLs with which a client reads or writes one file at the storage itself, for so many seconds.
  struct Presigned {
    std::string url;
    std::vector<std::pair<std::string, std::string>> headers;  // that the client must send
    std::optional<std::uint64_t> size;
  };
  virtual task::Task<Result<Presigned>> presign_download(std::string path, int seconds);
  virtual task::Task<Result<Presigned>> presign_upload(std::string path, int seconds);
};

// A folder of this machine.
std::unique_ptr<ArtifactStore> make_folder_store(std::string root);

}  // namespace mr::tracking
