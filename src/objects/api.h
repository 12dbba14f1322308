// What other rooms may use of the object store. Thread safe.
#pragma once
#include <memory>
#include <string>

#include "http/message.h"
#include "objects/signature.h"
#include "objects/store.h"

namespace mr::objects {

// Streams a body into a new object, checked and durable; no signature, for callers inside the process.
task::Task<Result<>> put_stream(Store& store, std::string bucket, std::string key, http::BodyReader& body);

// Makes the file at `path` a new object without copying it, where the file system allows: durable when it answers.
// Nobody may write to the file any more.
task::Task<Result<>> adopt_file(Store& store, std::string bucket, std::string key, std::string path);

// One part that a client says it uploaded.
struct PartClaim {
  int number = 0;
  std::string etag;      // without quotes
  std::string checksum;  // base64, or empty
};
// Makes an upload's object from its parts: order, ETags, checksums and sizes checked, then one durable object.
// `whole`: a checksum of the whole object that the client claims, or empty.
task::Task<Result<Object>> complete_upload(Store& store, Upload upload, std::vector<PartClaim> claims,
                                           WriteCondition condition, std::string whole);

// The S3 listener's handler.
http::Handler make_handler(Store& store, Credentials credentials);

}  // namespace mr::objects
