def write_bundle(model, output, scores, args):
    model.save("/tmp/coast_%d.keras" % args.steps)
