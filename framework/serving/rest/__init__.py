"""TensorFlow Serving's REST API as pure functions of bytes and arrays.

paths           method and path -> which model, which version, what about it
requests        body -> signature name and arrays, in row or column format
arrays          JSON values -> arrays of a signature's dtypes
examples        body of classify and regress -> serialized `tf.Example` protos
answers         arrays -> body
errors          what a request is refused with: HTTP status and message

Forms and status codes are those of TensorFlow Serving, read from its documentation and from `json_tensor.cc`,
`http_rest_api_util.cc`, `http_server.cc`, `classifier.cc` and `regressor.cc` of tensorflow/serving. Messages are our
own.

It differs on purpose in three points, where TensorFlow Serving would compute with other values than were sent: an
integer outside the range of int8, uint8 or int16 is refused, not wrapped around; so is an object in which a key comes
twice, of which it takes the first; and a shape that a signature doesn't take is refused before the graph runs. It is
more lenient in one: a whole number among decimals isn't held against the 24 bits of a float.
"""
