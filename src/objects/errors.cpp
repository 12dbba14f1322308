#include "objects/errors.h"

#include "log/log.h"
#include "text/text.h"

namespace mr::objects {

namespace {
struct Row {
  std::string_view code;
  int status;
  std::string_view text;
};
constexpr Row kRows[] = {
    {"AccessDenied", 403, "Access Denied."},
    {"AuthorizationHeaderMalformed", 400, "The authorization header is malformed."},
    {"AuthorizationQueryParametersError", 400, "Error parsing the X-Amz-Credential parameter."},
    {"BadDigest", 400, "The Content-MD5 or checksum value that you specified did not match what the server received."},
    {"BucketAlreadyExists", 409, "The requested bucket name is not available."},
    {"BucketAlreadyOwnedByYou", 409, "The bucket that you tried to create already exists, and you own it."},
    {"BucketNotEmpty", 409, "The bucket that you tried to delete is not empty."},
    {"ConditionalRequestConflict", 409, "A conflicting operation occurred."},
    {"EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed object size."},
    {"EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed object size."},
    {"ExpiredToken", 400, "The provided token has expired."},
    {"IncompleteBody", 400, "You did not provide the number of bytes specified by the Content-Length HTTP header."},
    {"InternalError", 500, "We encountered an internal error. Please try again."},
    {"InvalidAccessKeyId", 403, "The access key ID that you provided does not exist in our records."},
    {"InvalidArgument", 400, "Invalid argument."},
    {"InvalidBucketName", 400, "The specified bucket is not valid."},
    {"InvalidDigest", 400, "The Content-MD5 or checksum value that you specified is not valid."},
    {"InvalidPart", 400,
     "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified "
     "entity tag might not match the part's entity tag."},
    {"InvalidPartOrder", 400, "The list of parts was not in ascending order. Parts must be ordered by part number."},
    {"InvalidRange", 416, "The requested range is not satisfiable."},
    {"InvalidRequest", 400, "Invalid request."},
    {"InvalidTag", 400, "The tag provided was not a valid tag."},
    {"KeyTooLongError", 400, "Your key is too long."},
    {"MalformedXML", 400,
     "The XML that you provided was not well formed or did not validate against our published schema."},
    {"MethodNotAllowed", 405, "The specified method is not allowed against this resource."},
    {"MalformedTrailerError", 400,
     "The request contained trailing data that was not well-formed or did not conform to our published schema."},
    {"MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size."},
    {"MissingContentLength", 411, "You must provide the Content-Length HTTP header."},
    {"NoSuchBucket", 404, "The specified bucket does not exist."},
    {"NoSuchBucketPolicy", 404, "The bucket policy does not exist."},
    {"NoSuchCORSConfiguration", 404, "The CORS configuration does not exist."},
    {"NoSuchKey", 404, "The specified key does not exist."},
    {"NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist."},
    {"NoSuchTagSet", 404, "The TagSet does not exist."},
    {"NoSuchUpload", 404,
     "The specified multipart upload does not exist. The upload ID might be invalid, or the multipart upload might "
     "have been aborted or completed."},
    {"NoSuchVersion", 404, "The version ID specified in the request does not match an existing version."},
    {"NotImplemented", 501, "A header or query that you provided implies functionality that is not implemented."},
    {"NotModified", 304, "Not Modified"},
    {"ObjectLockConfigurationNotFoundError", 404, "Object Lock configuration does not exist for this bucket."},
    {"PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold."},
    {"RequestTimeTooSkewed", 403, "The difference between the request time and the server's time is too large."},
    {"RequestTimeout", 400,
     "Your socket connection to the server was not read from or written to within the timeout period."},
    {"ServerSideEncryptionConfigurationNotFoundError", 404, "The server side encryption configuration was not found."},
    {"SignatureDoesNotMatch", 403,
     "The request signature we calculated does not match the signature you provided. Check your key and signing "
     "method."},
    {"SlowDown", 503, "Please reduce your request rate."},
    {"StorageFull", 507, "The storage is full."},
    {"XAmzContentSHA256Mismatch", 400, "The provided 'x-amz-content-sha256' header does not match what was computed."},
};

const Row* find(std::string_view code) {
  for (const auto& r : kRows)
    if (r.code == code) return &r;
  return nullptr;
}

// The S3 code of an error that another room made.
std::string_view code_for(Code c) {
  switch (c) {
    case Code::not_found:
      return "NoSuchKey";
    case Code::permission_denied:
    case Code::unauthenticated:
      return "AccessDenied";
    case Code::invalid_argument:
    case Code::unsupported:
      return "InvalidArgument";
    case Code::too_large:
      return "EntityTooLarge";
    case Code::cancelled:
      return "IncompleteBody";
    case Code::deadline_exceeded:
      return "RequestTimeout";
    case Code::unavailable:
      return "SlowDown";
    case Code::resource_exhausted:
      return "StorageFull";
    case Code::unimplemented:
      return "NotImplemented";
    default:
      return "InternalError";
  }
}
}  // namespace

std::unexpected<Error> s3_error(std::string_view code, std::string message) {
  const auto* r = find(code);
  if (message.empty() && r != nullptr) message = r->text;
  Code neutral = r == nullptr || r->status >= 500 ? Code::internal
                 : r->status == 404               ? Code::not_found
                 : r->status == 403               ? Code::permission_denied
                 : r->status == 409               ? Code::conflict
                                                  : Code::invalid_argument;
  return fail(neutral, std::move(message), std::string(code));
}

http::Response error_response(const Error& e, std::string_view resource, std::string_view request_id,
                              std::string_view bucket, std::string_view key) {
  std::string_view code = e.reason.empty() || e.reason == "CONSTRAINT" ? code_for(e.code) : std::string_view(e.reason);
  const auto* row = find(code);
  int status = row == nullptr ? 500 : row->status;
  if (status >= 500 && status != 501)
    log::error("S3 request failed",
               {{"code", code}, {"message", e.message}, {"detail", e.detail}, {"request_id", request_id}});
  std::string message = status == 500 && row != nullptr ? std::string(row->text) : e.message;
  if (status == 304) {
    http::Response r;
    r.status = 304;
    return r;
  }
  auto res = http::Response::text(
      status,
      fmt::format("<?xml version=\"1.0\" "
                  "encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message>{}{}<Resource>{}</"
                  "Resource><RequestId>{}</RequestId><HostId>millrace</HostId></Error>",
                  code, text::xml_escape(message),
                  bucket.empty() ? "" : fmt::format("<BucketName>{}</BucketName>", text::xml_escape(bucket)),
                  key.empty() ? "" : fmt::format("<Key>{}</Key>", text::xml_escape(key)), text::xml_escape(resource),
                  text::xml_escape(request_id)),
      "application/xml");
  if (status == 503) res.headers.add("Retry-After", "1");
  return res;
}

}  // namespace mr::objects
