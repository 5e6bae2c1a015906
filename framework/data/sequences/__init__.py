"""Examples that are sequences of varying length.

protos      `tf.train.SequenceExample` and back; `framework.data.records` has the files
lengths     how many steps each example has
bucketing   batches of examples of like length
masking     padded steps, and where there are some
encoding    what is learned of them, and what the model gets
"""
